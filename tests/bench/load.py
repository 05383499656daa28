"""The load: a process that sends messages in many channels over NATS and times their answers.

`python -m tests.bench.load URL SUBJECT...` subscribes to the subjects and writes `{}`. Then it
answers these questions, each one line of JSON:

burst        one message in each of `channels` channels at once: seconds until all are answered
fill         `each` messages in every channel, `in_flight` at the same time
closed_loop  `in_flight` messages at the same time for `seconds`: how many were answered, and the
             share of one core that each of the processes `pids` used
open_loop    `rate` messages a second for `seconds`, whatever comes back: how long each took
flood        keep `waiting` commands waiting in one channel, until a `flood` with 0
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from tests.bench import children, machine
from tests.bench.asker import Answered, Asker, LoadFailed, Question
from tests.bench.figures import percentile

BURST_LIMIT_S = 60.0
FILL_LIMIT_S = 300.0
TAIL_LIMIT_S = 30.0
LONGEST_SLICE = 20  # times the planned seconds; a machine that needs longer is too slow


class Load:
    """The answers to the questions: each method is named as in the question's `do`."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._flood = Flood(asker)

    async def burst(
        self, *, subject: str, body: Mapping[str, Any], channels: int
    ) -> dict[str, Any]:
        names = [f"burst-{number}" for number in range(channels)]
        began = perf_counter()
        answers = await self._asker.visit(Question(subject, body), names, channels, BURST_LIMIT_S)
        return {"seconds": answers[-1].now - began}

    async def fill(
        self, *, subject: str, body: Mapping[str, Any], channels: int, in_flight: int, each: int
    ) -> dict[str, Any]:
        names = [f"loop-{number}" for number in range(channels)] * each
        at_once = min(in_flight, channels)
        await self._asker.visit(Question(subject, body), names, at_once, FILL_LIMIT_S)
        return {}

    async def closed_loop(
        self, *, subject: str, body: Mapping[str, Any], **more: Any
    ) -> dict[str, Any]:
        return await ClosedLoop(self._asker, Question(subject, body), **more).run()

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


@dataclass
class ClosedLoop:
    """A closed loop: each answer triggers the next question, for a given time.

    It counts only after the first messages in flight were all answered, so the start is not in the
    figure. The processor time of `pids` is taken over the same period.
    """

    asker: Asker
    question: Question
    channels: int
    in_flight: int
    seconds: float
    pids: Mapping[str, int]
    _began_cpu_s: dict[str, float] = field(default_factory=dict)
    _used_s: dict[str, float] = field(default_factory=dict)
    _latencies: list[float] = field(default_factory=list)
    _answers: int = 0
    _began: float = 0.0
    _first: float = 0.0
    _latest: float = 0.0
    _closing: bool = False

    async def run(self) -> dict[str, Any]:
        """Return the figures of the slice.

        cpu_us: processor time per answer of `pids["asked"]`, with its threads and children.
        busy: the share of one core that each of the other processes used.
        """
        self._resting = deque(f"loop-{number}" for number in range(self.channels))
        sent = self.in_flight = min(self.in_flight, self.channels)
        self._began, deltas = perf_counter(), self.asker.deltas
        longest_s = self.seconds * LONGEST_SLICE
        for _ in range(sent):
            self._ask()
        await self.asker.until(
            lambda: self._closing and self.in_flight == 0,
            longest_s + TAIL_LIMIT_S,
            f"{sent} at once answered",
        )
        if len(self._latencies) < sent:
            raise LoadFailed(f"only {len(self._latencies)} answers in {longest_s:g} s")
        counted_s = self._latest - self._first
        rate = len(self._latencies) / counted_s
        busy = {name: used_s / counted_s for name, used_s in self._used_s.items()}
        return {
            "answers_a_second": rate,
            "p50_ms": percentile(self._latencies, 50) * 1000,
            "p99_ms": percentile(self._latencies, 99) * 1000,
            "cpu_us": busy.pop("asked") / rate * 1e6,
            "deltas_an_answer": (self.asker.deltas - deltas) / self._answers,
            "busy": busy,
        }

    def _ask(self) -> None:
        self.asker.ask(self.question, self._resting.popleft(), self._on_answered)

    def _on_answered(self, answered: Answered) -> None:
        self._answers += 1
        self._resting.append(answered.channel)
        if answered.busy:
            self.asker.trouble = "the engine said busy in a closed loop"
        if self._closing:
            self.in_flight -= 1
            return
        if self._answers == self.in_flight:
            self._first, self._began_cpu_s = answered.now, self._cpu_s()
        elif self._answers > self.in_flight:
            self._latest = answered.now
            self._latencies.append(answered.now - answered.asked)
        if self._is_over(answered.now):
            self._closing = True
            self._used_s = {
                name: now_s - self._began_cpu_s[name] for name, now_s in self._cpu_s().items()
            }
            self.in_flight -= 1
        else:
            self._ask()

    def _cpu_s(self) -> dict[str, float]:
        return {name: machine.cpu_s(pid) for name, pid in self.pids.items()}

    def _is_over(self, now: float) -> bool:
        """End only after a whole round of messages in flight: a group commit answers many at the
        same time, and the wait for a group belongs into the figure only with that group."""
        passed_s = now - self._began
        if passed_s >= self.seconds * LONGEST_SLICE:
            return True
        rounds, more = divmod(self._answers, self.in_flight)
        return passed_s >= self.seconds and rounds > 1 and not more


@dataclass
class OpenLoop:
    """An open loop over `channels`: questions on a schedule, whether or not others are answered.

    Rates count answers from `from_s` to `to_s`, the end of the schedule; latencies count all.
    """

    asker: Asker
    question: Question
    channels: int
    from_s: float
    to_s: float
    _began: float = 0.0
    _answered_ms: list[float] = field(default_factory=list)
    _busy_ms: list[float] = field(default_factory=list)
    _counted: Counter[bool] = field(default_factory=Counter)  # by `busy`

    async def run(self, moments: list[float]) -> dict[str, Any]:
        self._began = perf_counter()
        pace = Pace(moments, self._ask)
        await pace.keep()
        answered, busy = self._answered_ms, self._busy_ms
        await self.asker.until(
            lambda: len(answered) + len(busy) == len(moments),
            TAIL_LIMIT_S,
            f"{len(moments)} messages answered",
        )
        counted_s = self.to_s - self.from_s
        return {
            "sent": len(moments),
            "answered": len(answered),
            "busy": len(busy),
            "answered_a_second": self._counted[False] / counted_s,
            "busy_a_second": self._counted[True] / counted_s,
            "p50_ms": percentile(answered, 50),
            "p99_ms": percentile(answered, 99),
            "busy_p50_ms": percentile(busy, 50),
            "busy_p99_ms": percentile(busy, 99),
            "late_p99_ms": percentile(pace.lateness_s, 99) * 1000,
        }

    def _ask(self, number: int, due: float) -> None:
        channel = f"open-{number % self.channels}"
        self.asker.ask(self.question, channel, self._on_answered, due)
        self.asker.wire.send()

    def _on_answered(self, answered: Answered) -> None:
        taken_ms = self._busy_ms if answered.busy else self._answered_ms
        taken_ms.append((answered.now - answered.asked) * 1000)
        if self.from_s <= answered.now - self._began < self.to_s:
            self._counted[answered.busy] += 1


class Flood:
    """A sender that keeps a number of commands waiting in one channel."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._question = Question("", {})
        self._wanted = self._waiting = 0

    def keep(self, question: Question, wanted: int) -> None:
        self._question, self._wanted = question, wanted
        self._fill()

    def _fill(self) -> None:
        while self._waiting < self._wanted:
            self._waiting += 1
            self._asker.ask(self._question, "flooded", self._on_answered)
        self._asker.wire.send()

    def _on_answered(self, answered: Answered) -> None:
        if answered.busy:
            self._asker.trouble = "the flooded channel was busy: raise its mailbox_limit"
        self._waiting -= 1
        self._fill()


def schedule(rate: float, seconds: float, seed: int) -> list[float]:
    """Return seconds from the start: one random moment in each interval of `1 / rate`.

    Even intervals would keep the same phase to other timers, which count in milliseconds.
    """
    chance = random.Random(seed)
    return [(number + chance.random()) / rate for number in range(round(rate * seconds))]


class Pace:
    """A clock that calls `act(number, due)` in the event loop for each moment of a schedule.

    It keeps a schedule to a tenth of a millisecond, which an event loop's timers cannot do.
    due: when the call was due, by time.perf_counter, even if it comes late.
    """

    def __init__(self, moments: Sequence[float], act: Callable[[int, float], None]) -> None:
        self._moments = moments
        self._act = act
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._given_up = threading.Event()
        self.lateness_s: list[float] = []

    async def keep(self) -> None:
        """Return after the last moment. Raise what `act` raises."""
        thread = threading.Thread(target=self._run, args=(perf_counter(),), daemon=True)
        thread.start()
        try:
            await self._done
        finally:
            self._given_up.set()
            thread.join()

    def _run(self, began: float) -> None:
        number, count = 0, len(self._moments)
        while number < count:
            wait_s = began + self._moments[number] - perf_counter()
            if self._given_up.wait(max(wait_s, 0)):
                return
            passed_s = perf_counter() - began
            end = number + 1
            while end < count and self._moments[end] <= passed_s:
                end += 1
            self._loop.call_soon_threadsafe(self._act_on, number, end, began)
            number = end
        self._loop.call_soon_threadsafe(self._end)

    def _act_on(self, number: int, end: int, began: float) -> None:
        try:
            for each in range(number, end):
                due = began + self._moments[each]
                self.lateness_s.append(perf_counter() - due)
                self._act(each, due)
        except Exception as exc:  # noqa: BLE001 - `keep` raises it
            if not self._done.done():
                self._done.set_exception(exc)

    def _end(self) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def main(url: str, *subjects: str) -> None:
    await children.answer_questions(Load(await Asker.connect(url, subjects)))


if __name__ == "__main__":
    children.run(main(*sys.argv[1:]))
