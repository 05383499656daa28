"""An open loop: questions on a schedule, whether or not earlier ones are answered."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from tests.bench.asker import Answered, Asker, Question
from tests.bench.figures import percentile
from tests.bench.pace import Pace

TAIL_LIMIT_S = 30.0


class OpenLoop:
    """An open loop over `channels`.

    Rates count answers from `counted_from_s` to the end of the schedule; latencies count all.
    """

    def __init__(
        self,
        asker: Asker,
        question: Question,
        channels: int,
        counted_from_s: float,
        seconds: float,
    ) -> None:
        self._asker = asker
        self._question = question
        self._channels = channels
        self._from_s, self._to_s = counted_from_s, seconds
        self._began = 0.0
        self._latencies_ms: list[float] = []
        self._busy_ms: list[float] = []
        self._counted = {False: 0, True: 0}

    async def run(self, moments: list[float]) -> dict[str, Any]:
        self._began = perf_counter()
        pace = Pace(moments, self._ask)
        await pace.keep()
        await self._asker.until(
            lambda: len(self._latencies_ms) + len(self._busy_ms) == len(moments),
            TAIL_LIMIT_S,
            f"{len(moments)} messages answered",
        )
        counted_s = self._to_s - self._from_s
        return {
            "sent": len(moments),
            "answered": len(self._latencies_ms),
            "busy": len(self._busy_ms),
            "answered_a_second": self._counted[False] / counted_s,
            "busy_a_second": self._counted[True] / counted_s,
            "p50_ms": percentile(self._latencies_ms, 50),
            "p99_ms": percentile(self._latencies_ms, 99),
            "busy_p50_ms": percentile(self._busy_ms, 50),
            "busy_p99_ms": percentile(self._busy_ms, 99),
            "late_p99_ms": percentile(pace.lateness_s, 99) * 1000,
        }

    def _ask(self, number: int, due: float) -> None:
        channel = f"open-{number % self._channels}"
        self._asker.ask(self._question, channel, self._on_answered, due)
        self._asker.wire.send()

    def _on_answered(self, answered: Answered) -> None:
        took_ms = (answered.now - answered.asked) * 1000
        (self._busy_ms if answered.busy else self._latencies_ms).append(took_ms)
        if self._from_s <= answered.now - self._began < self._to_s:
            self._counted[answered.busy] += 1
