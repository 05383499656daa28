"""The load: sends messages on many channels over NATS and takes the time of their answers.

`python -m tests.bench.load URL SUBJECT...` hears the subjects, says `{}` once it does, and then
answers questions, one line of JSON each:

burst        one message on each of `channels` channels at once; how long until all are answered
closed_loop  one message in flight on each channel for `seconds`; how many were answered
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import orjson
import uvloop

from tests.bench.children import questions, say
from tests.bench.nats_wire import NatsWire

BURST_LIMIT_S = 60.0
TAIL_LIMIT_S = 20.0

OnAnswer = Callable[[str, float, float], None]  # channel, when it was asked, when answered


class LoadFailed(Exception):
    """Something was not answered, or not with an answer; the measurement is void."""


class Load:
    """Messages out, their answers in. A wrong answer ends the measurement."""

    def __init__(self) -> None:
        self.wire: NatsWire
        self._sent: dict[str, tuple[str, float]] = {}
        self._count = 0
        self._on_answer: OnAnswer
        self._done: asyncio.Future[None]

    async def burst(self, *, subject: str, body: dict[str, Any], channels: int) -> dict[str, Any]:
        began = latest = perf_counter()

        def on_answer(_: str, asked: float, now: float) -> None:
            nonlocal latest
            latest = now

        self._begin(on_answer)
        for number in range(channels):
            self._ask(subject.encode(), body, f"burst-{number}")
        await self._finish(BURST_LIMIT_S)
        return {"seconds": latest - began}

    async def closed_loop(
        self, *, subject: str, body: dict[str, Any], channels: int, seconds: float
    ) -> dict[str, Any]:
        latencies: list[float] = []
        began = latest = perf_counter()
        ends = began + seconds

        def on_answer(channel: str, asked: float, now: float) -> None:
            nonlocal latest
            if now < ends:
                latest = now
                latencies.append(now - asked)
                self._ask(subject.encode(), body, channel)

        self._begin(on_answer)
        for number in range(channels):
            self._ask(subject.encode(), body, f"loop-{number}")
        await self._finish(seconds + TAIL_LIMIT_S)
        if len(latencies) < channels:
            raise LoadFailed(f"only {len(latencies)} answers in {seconds:g} s")
        hundredths = statistics.quantiles(latencies, n=100)
        return {
            "answers": len(latencies),
            # Up to the last one counted: a group commit answers many at once, and the time in which
            # the next group would have come must not count as idle.
            "answers_a_second": len(latencies) / (latest - began),
            "p50_ms": hundredths[49] * 1000,
            "p99_ms": hundredths[98] * 1000,
        }

    def on_msg(self, _: str, data: bytes) -> None:
        now = perf_counter()
        answer = orjson.loads(data)
        channel, asked = self._sent.pop(answer["request_id"])
        if answer["type"] != "llm_response":
            self._fail(f"not an answer: {data.decode()[:300]}")
            return
        self._on_answer(channel, asked, now)
        if not self._sent and not self._done.done():
            self._done.set_result(None)

    def _begin(self, on_answer: OnAnswer) -> None:
        self._on_answer = on_answer
        self._done = asyncio.get_running_loop().create_future()

    def _ask(self, subject: bytes, body: Mapping[str, Any], channel: str) -> None:
        self._count += 1
        request_id = f"r{self._count}"
        message = {**body, "channel_id": channel, "request_id": request_id}
        self._sent[request_id] = channel, perf_counter()
        self.wire.publish(subject, orjson.dumps(message))

    async def _finish(self, limit_s: float) -> None:
        self.wire.send()
        try:
            async with asyncio.timeout(limit_s):
                await self._done
        except TimeoutError:
            raise LoadFailed(f"{len(self._sent)} not answered in {limit_s:g} s") from None
        if self.wire.trouble:
            raise LoadFailed(self.wire.trouble)

    def _fail(self, problem: str) -> None:
        if not self._done.done():
            self._done.set_exception(LoadFailed(problem))


async def main(url: str, *subjects: str) -> None:
    load = Load()
    load.wire = await NatsWire.connect(url, load.on_msg)
    for subject in subjects:
        load.wire.subscribe(subject)
    await load.wire.flush()
    say({})
    async for question in questions():
        measure = getattr(load, question.pop("do"))
        try:
            say(await measure(**question))
        except LoadFailed as exc:
            say({"error": str(exc)})


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
