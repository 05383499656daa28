"""A wall clock and a monotonic clock that a test moves; and a time zone in which no day ends."""

from __future__ import annotations

from datetime import UTC, datetime

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


def zone_at_noon() -> str:
    """Return a time zone where it is about noon: no day ends there while a test runs."""
    east = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-east:+d}"  # by these names, it is minus to the east of Greenwich
