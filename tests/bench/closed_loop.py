"""A closed loop: each answer triggers the next question, for a given time."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from tests.bench import machine
from tests.bench.asker import Answered, Asker, LoadFailed, Question
from tests.bench.figures import percentile

FILL_LIMIT_S = 300.0
TAIL_LIMIT_S = 30.0
LONGEST_SLICE = 20  # times the planned seconds; a machine that needs longer is too slow


class ClosedLoop:
    """A closed loop that counts only after the first messages in flight were all answered.

    So the start is not in the figure. The processor time of `pids` is taken over the same period.
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
        self._asker = asker
        self._question = question
        self._in_flight = min(in_flight, channels)
        self._resting = deque(f"loop-{number}" for number in range(channels))
        self._seconds = seconds
        self._pids = pids
        self._began_cpu_s: dict[str, float] = {}
        self._used_s: dict[str, float] = {}
        self._began = 0.0
        self._answers = 0
        self._latencies: list[float] = []
        self._first = self._latest = 0.0
        self._closing = False

    async def run(self) -> dict[str, Any]:
        self._began, deltas = perf_counter(), self._asker.deltas
        sent = self._in_flight
        for _ in range(sent):
            self._ask()
        limit_s = self._seconds * LONGEST_SLICE + TAIL_LIMIT_S
        await self._asker.until(
            lambda: self._closing and self._in_flight == 0, limit_s, f"{sent} at once answered"
        )
        if len(self._latencies) < sent:
            raise LoadFailed(
                f"only {len(self._latencies)} answers in {self._seconds * LONGEST_SLICE:g} s"
            )
        counted_s = self._latest - self._first
        return {
            "answers": self._answers,
            "answers_a_second": len(self._latencies) / counted_s,
            "busy": {name: used_s / counted_s for name, used_s in self._used_s.items()},
            "deltas": self._asker.deltas - deltas,
            "p50_ms": percentile(self._latencies, 50) * 1000,
            "p99_ms": percentile(self._latencies, 99) * 1000,
        }

    def _ask(self) -> None:
        self._asker.ask(self._question, self._resting.popleft(), self._on_answered)

    def _on_answered(self, answered: Answered) -> None:
        self._answers += 1
        self._resting.append(answered.channel)
        if answered.busy:
            self._asker.trouble = "the engine said busy in a closed loop"
        if self._closing:
            self._in_flight -= 1
            return
        if self._answers == self._in_flight:
            self._first, self._began_cpu_s = answered.now, self._cpu_s()
        elif self._answers > self._in_flight:
            self._latest = answered.now
            self._latencies.append(answered.now - answered.asked)
        if self._is_over(answered.now):
            self._closing = True
            self._used_s = {
                name: now_s - self._began_cpu_s[name] for name, now_s in self._cpu_s().items()
            }
            self._in_flight -= 1
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


async def fill(asker: Asker, question: Question, channels: int, in_flight: int, each: int) -> None:
    """Get `each` answers in every channel. Raise LoadFailed."""
    resting = deque(f"loop-{number}" for number in range(channels))
    to_ask = wanted = channels * each
    answers = 0

    def ask() -> None:
        nonlocal to_ask
        if to_ask:
            to_ask -= 1
            asker.ask(question, resting.popleft(), on_answered)

    def on_answered(answered: Answered) -> None:
        nonlocal answers
        answers += 1
        resting.append(answered.channel)
        if answered.busy:
            asker.trouble = "the engine said busy in a closed loop"
        ask()

    for _ in range(min(in_flight, channels)):
        ask()
    await asker.until(lambda: answers == wanted, FILL_LIMIT_S, f"{channels} channels filled")
