"""The wall clock in milliseconds, the unit of all tables and messages."""

from __future__ import annotations

import time

DAY_MS = 24 * 60 * 60 * 1000


def now_ms() -> int:
    """Return the wall-clock time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
