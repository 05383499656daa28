"""The load: a process that sends messages in many channels over NATS and times their answers.

`python -m tests.bench.load URL SUBJECT...` subscribes to the subjects and writes `{}`. Then it
answers these questions, each one line of JSON:

visit        one message in each of `channels`, `at_once` at the same time: how long each took
closed_loop  `in_flight` messages at the same time for `seconds`: how many were answered, and the
             share of one core that each of the processes `pids` used
open_loop    `rate` messages a second for `seconds`, whatever comes back: how long each took
flood        keep `waiting` commands waiting in one channel, until a `flood` with 0
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

from tests.bench import children, machine
from tests.bench.asker import Answered, Asker, LoadFailed, Question
from tests.bench.figures import percentile

VISIT_LIMIT_S = 300.0
TAIL_LIMIT_S = 30.0
LONGEST_SLICE = 20  # times the planned seconds; a machine that needs longer is too slow


class Load:
    """The answers to the questions: each method is named as in the question's `do`."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._wanted = self._waiting = 0  # in the flooded channel

    async def visit(
        self, *, subject: str, body: Mapping[str, Any], channels: list[str], at_once: int
    ) -> dict[str, Any]:
        left, question, answers = channels[::-1], Question(subject, body), list[Answered]()

        def ask() -> None:
            if left:
                self._asker.ask(question, left.pop(), on_answered)

        def on_answered(answered: Answered) -> None:
            answers.append(answered)
            ask()

        began = perf_counter()
        for _ in range(at_once):
            ask()
        await self._asker.until(lambda: len(answers) == len(channels), VISIT_LIMIT_S)
        taken_us = [round((each.now - each.asked) * 1e6) for each in answers]
        return {"seconds": answers[-1].now - began, "taken_us": taken_us}

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
        """Count answers from `counted_from_s` to the end of the schedule; time all of them."""
        question, moments = Question(subject, body, may_be_busy=True), schedule(rate, seconds, seed)
        taken_ms: dict[bool, list[float]] = {False: [], True: []}  # by `busy`
        counted, began = Counter[bool](), perf_counter()

        def ask(number: int, due: float) -> None:
            self._asker.ask(question, f"open-{number % channels}", on_answered, due)
            self._asker.send()

        def on_answered(answered: Answered) -> None:
            taken_ms[answered.busy].append((answered.now - answered.asked) * 1000)
            counted[answered.busy] += counted_from_s <= answered.now - began < seconds

        late_ms = await keep_pace(moments, ask)
        answered, busy = taken_ms[False], taken_ms[True]
        await self._asker.until(lambda: len(answered) + len(busy) == len(moments), TAIL_LIMIT_S)
        return {
            "answered": len(answered),
            "busy": len(busy),
            "answered_a_second": counted[False] / (seconds - counted_from_s),
            "busy_a_second": counted[True] / (seconds - counted_from_s),
            "p50_ms": percentile(answered, 50),
            "p99_ms": percentile(answered, 99),
            "busy_p50_ms": percentile(busy, 50),
            "busy_p99_ms": percentile(busy, 99),
            "late_p99_ms": percentile(late_ms, 99),
        }

    async def flood(self, *, subject: str, body: Mapping[str, Any], waiting: int) -> dict[str, Any]:
        question, self._wanted = Question(subject, body), waiting

        def fill(answered: Answered | None = None) -> None:
            self._waiting -= answered is not None
            while self._waiting < self._wanted:
                self._waiting += 1
                self._asker.ask(question, "flooded", fill)
            self._asker.send()

        fill()
        return {}


class ClosedLoop:
    """A closed loop: each answer triggers the next question, for a given time.

    It counts only after the first messages in flight were all answered, so the start is not in the
    figure. The processor time of `pids` is taken over the same period.
    """

    def __init__(
        self,
        asker: Asker,
        question: Question,
        channels: int,
        in_flight: int,
        seconds: float,
        pids: Mapping[str, int],
    ) -> None:
        self._asker, self._question = asker, question
        self._resting = deque(f"loop-{number}" for number in range(channels))
        self._in_flight = self._open = min(in_flight, channels)
        self._seconds = seconds
        self._pids = pids
        self._answers = 0
        self._latencies: list[float] = []  # of the answers that count
        self._closing = False

    async def run(self) -> dict[str, Any]:
        """Return the figures of the slice.

        cpu_us: processor time per answer of `pids["asked"]`, with its threads and children.
        busy: the share of one core that each of the other processes used.
        """
        self._began = perf_counter()
        for _ in range(self._in_flight):
            self._ask()
        longest_s = self._seconds * LONGEST_SLICE
        await self._asker.until(lambda: self._open == 0, longest_s + TAIL_LIMIT_S)
        if len(self._latencies) < self._in_flight:
            raise LoadFailed(f"only {len(self._latencies)} answers in {longest_s:g} s")
        counted_s = self._latest - self._first
        rate = len(self._latencies) / counted_s
        busy = {
            name: (ended_s - self._first_cpu_s[name]) / counted_s
            for name, ended_s in self._latest_cpu_s.items()
        }
        return {
            "answers_a_second": rate,
            "p50_ms": percentile(self._latencies, 50) * 1000,
            "p99_ms": percentile(self._latencies, 99) * 1000,
            "cpu_us": busy.pop("asked") / rate * 1e6,
            "busy": busy,
        }

    def _ask(self) -> None:
        self._asker.ask(self._question, self._resting.popleft(), self._on_answered)

    def _on_answered(self, answered: Answered) -> None:
        self._answers += 1
        self._resting.append(answered.channel)
        if self._closing:
            self._open -= 1
            return
        if self._answers == self._in_flight:
            self._first, self._first_cpu_s = answered.now, self._cpu_s()
        elif self._answers > self._in_flight:
            self._latest = answered.now
            self._latencies.append(answered.now - answered.asked)
        if self._is_over(answered.now):
            self._closing, self._latest_cpu_s = True, self._cpu_s()
            self._open -= 1
        else:
            self._ask()

    def _cpu_s(self) -> dict[str, float]:
        return {name: machine.cpu_s(pid) for name, pid in self._pids.items()}

    def _is_over(self, now: float) -> bool:
        """End only after a whole round of messages in flight: a group commit answers many at the
        same time, and the wait for a group belongs into the figure only with that group."""
        passed_s = now - self._began
        if passed_s >= self._seconds * LONGEST_SLICE:
            return True
        rounds, more = divmod(self._answers, self._in_flight)
        return passed_s >= self._seconds and rounds > 1 and not more


def schedule(rate: float, seconds: float, seed: int) -> list[float]:
    """Return seconds from the start: one random moment in each interval of `1 / rate`.

    Even intervals would keep the same phase to other timers, which count in milliseconds.
    """
    chance = random.Random(seed)
    return [(number + chance.random()) / rate for number in range(round(rate * seconds))]


async def keep_pace(moments: Sequence[float], act: Callable[[int, float], None]) -> list[float]:
    """Call `act(number, due)` in the event loop at each moment; return how late, in milliseconds.

    A thread waits for the moments: it keeps them to a tenth of a millisecond, which an event loop's
    timers cannot do. due: by perf_counter, also of a call that comes late.
    """
    loop, late_ms, began = asyncio.get_running_loop(), list[float](), perf_counter()

    def call(number: int, due: float) -> None:
        late_ms.append((perf_counter() - due) * 1000)
        act(number, due)

    def wait() -> None:
        for number, moment in enumerate(moments):
            due = began + moment
            time.sleep(max(0.0, due - perf_counter()))
            loop.call_soon_threadsafe(call, number, due)

    await asyncio.to_thread(wait)
    return late_ms


async def main(url: str, *subjects: str) -> None:
    asker = Asker()
    await asker.connect(url, subjects)
    await children.answer_questions(Load(asker))


if __name__ == "__main__":
    children.run(main(*sys.argv[1:]))
