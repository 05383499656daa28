from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

import pytest

from engine.interfaces.audit import overview
from engine.interfaces.reports import dates

# A Monday.
NOW = "2026-11-23 12:30:00"
# Time zones by their rules: not every machine has a database of their names.
BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
CAIRO = "EET-2EEST,M4.5.5/0,M10.5.4/24"
HAVANA = "CST5CDT,M3.2.0/0,M11.1.0/1"
KOLKATA = "IST-5:30"
NEW_YORK = "EST5EDT,M3.2.0,M11.1.0"


@pytest.fixture(params=["UTC", NEW_YORK, KOLKATA], ids=["UTC", "New York", "Kolkata"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Dates are local in every time zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def now() -> datetime:
    return datetime.fromisoformat(NOW).astimezone()


def parsed(text: str) -> tuple[str, str]:
    span = dates.parse(text, now())
    return dates.shown(span.start_ms)[:19], dates.shown(span.end_ms)[:19]


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("2h", "2026-11-23 10:30:00"),
        ("90 min", "2026-11-23 11:00:00"),
        ("30s ago", "2026-11-23 12:29:30"),
        ("3 days ago", "2026-11-20 12:30:00"),
        ("1w", "2026-11-16 12:30:00"),
        ("2h 30m", "2026-11-23 10:00:00"),
        ("an hour ago", "2026-11-23 11:30:00"),
        ("2026-11-01 14:00", "2026-11-01 14:00:00"),
        ("2026-11-01T14:00:05", "2026-11-01 14:00:05"),
        ("1 Nov 2026 14:00", "2026-11-01 14:00:00"),
        ("yesterday 14:00", "2026-11-22 14:00:00"),
        ("Yesterday at 3pm", "2026-11-22 15:00:00"),
        ("yesterday noon", "2026-11-22 12:00:00"),
        ("sunday 08:15", "2026-11-22 08:15:00"),
        ("09:00", "2026-11-23 09:00:00"),
        ("14:00", "2026-11-22 14:00:00"),
        ("Nov 1, 2026 at 2pm", "2026-11-01 14:00:00"),
    ],
)
def test_a_moment_is_understood(text: str, moment: str) -> None:
    assert parsed(text) == (moment, moment)


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize(
    ("text", "day", "next_day"),
    [
        ("today", "2026-11-23", "2026-11-24"),
        ("yesterday", "2026-11-22", "2026-11-23"),
        ("monday", "2026-11-16", "2026-11-17"),
        ("last friday", "2026-11-20", "2026-11-21"),
        ("2026-11-01", "2026-11-01", "2026-11-02"),
        ("1 November 2026", "2026-11-01", "2026-11-02"),
        ("nov 1 2026", "2026-11-01", "2026-11-02"),
    ],
)
def test_a_day_is_taken_whole(text: str, day: str, next_day: str) -> None:
    assert parsed(text) == (f"{day} 00:00:00", f"{next_day} 00:00:00")


@pytest.mark.usefixtures("zone")
def test_a_time_with_a_zone_is_that_time_everywhere() -> None:
    for text in ("2026-11-01T14:00:00Z", "2026-11-01 19:30+05:30", "2026-11-01 14:00 UTC"):
        assert dates.parse(text, now()).start_ms == 1793541600000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12",
        "11/12/2026",  # November or December?
        "march",  # no day
        "hello 3",
        "in 2 hours",  # the future
        "2h; drop",
        "today at 9",  # in the morning or in the evening?
        "13pm",
        "25:00",
        "2026-02-30",
        "999999d",  # before the year 1
        "\udcff",  # how Python passes on a byte that is not UTF-8
    ],
)
def test_an_ambiguous_date_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="expected a date such as"):
        dates.parse(text, now())


def set_zone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", name)
    time.tzset()


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()


def isos(text: str) -> tuple[str, str]:
    span = dates.parse(text, now())
    return dates.iso(span.start_ms), dates.iso(span.end_ms)


def test_a_time_that_the_clocks_leave_out_is_refused_with_its_neighbours(
    restored: pytest.MonkeyPatch,
) -> None:
    set_zone(BERLIN, restored)
    for text in ("2026-03-29 02:30", "29 March 2026 02:30", "2026-03-29T02:30:00"):
        with pytest.raises(ValueError, match="the clocks went forward") as refused:
            dates.parse(text, now())
        assert f'"{text}" does not exist here' in str(refused.value)
        assert "such as 2026-03-29 01:30:00+01:00 or 2026-03-29 03:30:00+02:00" in str(
            refused.value
        )
    assert isos("2026-03-29 02:30+01:00")[0] == "2026-03-29T03:30:00.000+02:00"


def test_a_time_that_comes_twice_is_the_span_of_both(restored: pytest.MonkeyPatch) -> None:
    set_zone(BERLIN, restored)
    first, second = "2026-10-25T02:30:00.000+02:00", "2026-10-25T02:30:00.000+01:00"
    assert isos("2026-10-25 02:30") == (first, second)
    assert isos("2026-10-25 02:30+01:00") == (second, second)
    before = "2026-10-25T01:30:00.000+02:00"
    assert isos("2026-10-25 01:30") == (before, before)


@pytest.mark.parametrize(
    ("zone", "day", "start", "end"),
    [
        (
            BERLIN,
            "2026-03-29",
            "2026-03-29T00:00:00.000+01:00",
            "2026-03-30T00:00:00.000+02:00",
        ),
        (
            BERLIN,
            "2026-10-25",
            "2026-10-25T00:00:00.000+02:00",
            "2026-10-26T00:00:00.000+01:00",
        ),
        # The clocks leave out midnight; and midnight comes twice.
        (
            CAIRO,
            "2024-04-26",
            "2024-04-26T01:00:00.000+03:00",
            "2024-04-27T00:00:00.000+03:00",
        ),
        (
            HAVANA,
            "2024-11-03",
            "2024-11-03T00:00:00.000-04:00",
            "2024-11-04T00:00:00.000-05:00",
        ),
    ],
)
def test_a_day_of_23_or_25_hours_is_taken_whole(
    restored: pytest.MonkeyPatch, zone: str, day: str, start: str, end: str
) -> None:
    set_zone(zone, restored)
    assert isos(day) == (start, end)


@pytest.mark.parametrize("text", ["2h", "2 hours ago", "2 hours and 0 minutes ago"])
def test_a_length_of_time_ago_is_that_long_whatever_the_clocks_did(
    restored: pytest.MonkeyPatch, text: str
) -> None:
    set_zone(BERLIN, restored)
    at = datetime.fromisoformat("2026-03-29T04:00:00+02:00").astimezone()
    assert dates.iso(dates.parse(text, at).start_ms) == "2026-03-29T01:00:00.000+01:00"


@pytest.mark.parametrize("noon", ["2026-03-29T12:20+02:00", "2026-10-25T12:20+01:00"])
def test_the_audit_pages_hours_are_all_one_hour_long(
    restored: pytest.MonkeyPatch, noon: str
) -> None:
    set_zone(BERLIN, restored)
    until_ms = round(datetime.fromisoformat(noon).timestamp() * 1000)
    starts_ms = overview.period_until(False, until_ms, None).starts_ms
    lengths = {after - before for before, after in pairwise(starts_ms)}
    assert lengths == {60 * 60 * 1000}
