"""The load: sends messages on many channels over NATS and takes the time of their answers.

`python -m tests.bench.load URL SUBJECT...` hears the subjects, says `{}` once it does, and then
answers questions, one line of JSON each:

burst        one message on each of `channels` channels at once; how long until all are answered
fill         `each` messages one after the other in every channel, `in_flight` of them at once
closed_loop  `in_flight` messages at once for `seconds`; how many were answered, and how much of
             one core each of the processes `pids` used
open_loop    `rate` messages a second for `seconds`, whatever comes back; how long each took
flood        `waiting` commands always wait in one channel, until the next `flood` with none
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
from tests.bench.children import questions, say
from tests.bench.closed_loop import ClosedLoop
from tests.bench.flood import Flood
from tests.bench.nats_wire import NatsWire
from tests.bench.open_loop import OpenLoop
from tests.bench.pace import schedule

BURST_LIMIT_S = 60.0


class Load:
    """What can be asked for, by its name."""

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
