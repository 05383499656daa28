"""The load: a process that sends messages in many channels over NATS and times their answers.

`python -m tests.bench.load URL SUBJECT...` subscribes to the subjects and writes `{}`. Then it
answers these questions, each one line of JSON:

burst        one message in each of `channels` channels at once: seconds until all are answered
fill         `each` messages one after the other in every channel, `in_flight` at the same time
closed_loop  `in_flight` messages at the same time for `seconds`: how many were answered, and the
             share of one core that each of the processes `pids` used
open_loop    `rate` messages a second for `seconds`, whatever comes back: how long each took
flood        keep `waiting` commands waiting in one channel, until a `flood` with 0
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import uvloop

from tests.bench import closed_loop
from tests.bench.asker import Asker, LoadFailed, Question
from tests.bench.children import questions, write_line
from tests.bench.closed_loop import ClosedLoop
from tests.bench.flood import Flood
from tests.bench.nats_wire import NatsWire
from tests.bench.open_loop import OpenLoop
from tests.bench.pace import schedule

BURST_LIMIT_S = 60.0


class Load:
    """The answers to the questions: each method is named as in the question's `do`."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._flood = Flood(asker)

    async def burst(
        self, *, subject: str, body: Mapping[str, Any], channels: int
    ) -> dict[str, Any]:
        answers: list[float] = []
        question, began = Question(subject, body), perf_counter()
        for number in range(channels):
            self._asker.ask(question, f"burst-{number}", lambda each: answers.append(each.now))
        await self._asker.until(
            lambda: len(answers) == channels, BURST_LIMIT_S, f"{channels} channels answered"
        )
        return {"seconds": answers[-1] - began}

    async def fill(
        self, *, subject: str, body: Mapping[str, Any], channels: int, in_flight: int, each: int
    ) -> dict[str, Any]:
        await closed_loop.fill(self._asker, Question(subject, body), channels, in_flight, each)
        return {}

    async def closed_loop(
        self,
        *,
        subject: str,
        body: Mapping[str, Any],
        channels: int,
        in_flight: int,
        seconds: float,
        pids: Mapping[str, int],
    ) -> dict[str, Any]:
        question = Question(subject, body)
        loop = ClosedLoop(self._asker, question, channels, in_flight, seconds, pids)
        return await loop.run()

    async def open_loop(
        self,
        *,
        subject: str,
        body: Mapping[str, Any],
        channels: int,
        rate: float,
        seconds: float,
        seed: int,
        counted_from_s: float = 0.0,
    ) -> dict[str, Any]:
        loop = OpenLoop(self._asker, Question(subject, body), channels, counted_from_s, seconds)
        return await loop.run(schedule(rate, seconds, seed))

    async def flood(self, *, subject: str, body: Mapping[str, Any], waiting: int) -> dict[str, Any]:
        self._flood.keep(Question(subject, body), waiting)
        return {}


async def main(url: str, *subjects: str) -> None:
    asker = Asker()
    asker.wire = await NatsWire.connect(url, asker.on_msg)
    for subject in subjects:
        asker.wire.subscribe(subject)
    await asker.wire.flush()
    load = Load(asker)
    write_line({})
    async for question in questions():
        measure = getattr(load, question.pop("do"))
        try:
            write_line(await measure(**question))
        except LoadFailed as exc:
            write_line({"error": str(exc)})


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
