"""A wall clock and a monotonic clock that a test moves."""

from __future__ import annotations

from engine.clock import DAY_MS
from engine.operations.seen_rows import DAY_S

NOW_MS = 2_000_000 * 1_000_000


class Clocks:
    """A wall clock and a monotonic clock; `pass_days` moves both, `leap` only the wall clock."""

    def __init__(self) -> None:
        self.wall_ms = NOW_MS
        self.monotonic_s = 1000.0

    def pass_days(self, days: float) -> None:
        self.wall_ms += round(days * DAY_MS)
        self.monotonic_s += days * DAY_S

    def leap(self, days: float) -> None:
        self.wall_ms += round(days * DAY_MS)
