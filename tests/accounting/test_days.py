"""Tests of days in a time zone: none is skipped or counted twice, also when the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.accounting.days import Days

HOUR_MS = 3_600_000
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati")
times = st.datetimes(datetime(1990, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@settings(deadline=None, max_examples=200, database=None)
@given(st.sampled_from(ZONES), times, st.integers(0, 400))
def test_a_day_ends_where_the_next_one_begins(zone: str, at: datetime, hours: int) -> None:
    days, wall_ms = Days(zone), round(at.timestamp() * 1000)
    first = days.of(wall_ms)
    assert days.begins_ms(first) <= wall_ms < days.begins_ms(first + 1)
    later_ms = wall_ms + hours * HOUR_MS
    assert days.of(later_ms) == Days(zone).of(later_ms) >= first
    assert days.of(wall_ms) == first


@pytest.mark.parametrize(
    ("zone", "at", "day"),
    [
        ("UTC", "1970-01-01T00:00:00+00:00", 0),
        ("UTC", "2026-11-30T23:59:59+00:00", 20787),
        ("Europe/Berlin", "2026-11-30T23:00:00+00:00", 20788),
        ("Europe/Berlin", "2026-10-25T22:59:59+00:00", 20751),  # a day of 25 hours
        ("Europe/Berlin", "2026-10-25T23:00:00+00:00", 20752),
    ],
)
def test_a_day_is_that_of_the_zone(zone: str, at: str, day: int) -> None:
    assert Days(zone).of(ms(at)) == day
