"""The wall clock in milliseconds, the unit of all tables and messages; and time zones."""

from __future__ import annotations

import time
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAY_MS = 24 * 60 * 60 * 1000


def now_ms() -> int:
    """Return the wall-clock time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def shown_time(wall_ms: int) -> str:
    """Return a wall-clock time as messages have it: "2027-01-01T00:00:00Z"."""
    return datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def zone_of(name: str) -> tzinfo:
    """Return the time zone with this name. Raises ValueError if there is none on this machine."""
    if name == "UTC":  # also on a machine without a database of time zones
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError) as exc:
        raise ValueError(name) from exc
