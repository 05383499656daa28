"""Parses dates as people write them ("2h", "yesterday 14:00", ISO), and formats dates. Local time.

Every reader (`_iso`, `_ago` ...) returns None if the text is not of its kind.

When the clocks go back, a local time comes twice: it is then the span from the first to the second,
so that `--since` begins with the first and `--until` ends with the second. When they go forward, a
local time is left out, and is no date.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
LENGTH = re.compile(
    r"(\d{1,6}|\ban?\b) ?(s|sec|second|m|min|minute|h|hr|hour|d|day|w|week)s?\b", re.IGNORECASE
)
AGO = re.compile(
    rf"{LENGTH.pattern}(?:(?:,| and|, and)? {LENGTH.pattern})?(?: ago)?", re.IGNORECASE
)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NAMED = re.compile(
    rf"(?:last )?(today|yesterday|{'|'.join(DAYS)})(?:(?:,| at)? (\d.*|noon|midnight))?",
    re.IGNORECASE,
)
CLOCK = re.compile(
    r"(\d{1,2})(?::(\d\d)(?::(\d\d))?)?(?: ?(am|pm))?|(?P<named>noon|midnight)", re.IGNORECASE
)
ISO = re.compile(r"\d{4}-?\d\d-?\d\d([T ].+)?", re.IGNORECASE)
WRITTEN = re.compile(r"(.+ \d{4})(?:(?:,| at)? (\d.*|noon|midnight))?", re.IGNORECASE)
FORMS = ("%d %b %Y", "%d %B %Y", "%b %d %Y", "%B %d %Y")
EXPECTED = 'expected a date such as "2026-11-01 14:00", "2h", "yesterday", "3 days ago"'


@dataclass(frozen=True, slots=True)
class Span:
    """A moment or a whole day, in milliseconds since 1970.

    `end_ms` is the first moment after the day; for a moment, both are equal, unless its local time
    comes twice.
    """

    start_ms: int
    end_ms: int


class SkippedTime(ValueError):
    """A local time that does not exist, since the clocks go forward over it."""


def parse(text: str, now: datetime) -> Span:
    """Parse a date; `now` is the current time with its zone. Raises ValueError with examples."""
    words = " ".join(text.split())
    try:
        for reading in (_iso, _named, _ago, _clock, _written):
            if span := reading(words, now):
                return span
    except SkippedTime as exc:
        raise ValueError(f'"{text}" does not exist here: {exc}') from exc
    except (ValueError, OverflowError, OSError) as exc:  # a 30th of February, the year 99999
        raise ValueError(f'"{text}" is not a date: {exc}; {EXPECTED}') from exc
    raise ValueError(f'"{text}" is not a date: {EXPECTED}')


def _iso(text: str, now: datetime) -> Span | None:
    if not ISO.fullmatch(text):
        return None
    found = datetime.fromisoformat(text.upper().replace(" UTC", "Z"))
    return _day(found.date()) if len(text) <= 10 else _moment(found)


def _named(text: str, now: datetime) -> Span | None:
    match = NAMED.fullmatch(text)
    if match is None:
        return None
    name, at = match[1].lower(), match[2]
    if name in DAYS:
        back = (now.weekday() - DAYS.index(name) - 1) % 7 + 1
    else:
        back = 0 if name == "today" else 1
    day = now.date() - timedelta(days=back)
    if at is None:
        return _day(day)
    clock = _time(at)
    return None if clock is None else _moment(datetime.combine(day, clock))


def _ago(text: str, now: datetime) -> Span | None:
    if text.lower() == "now":
        return _moment(now)
    if not AGO.fullmatch(text):
        return None
    length = timedelta()
    for number, unit in LENGTH.findall(text):
        length += timedelta(**{UNITS[unit[0].lower()]: int(number) if number.isdigit() else 1})
    return _moment(now - length)


def _clock(text: str, now: datetime) -> Span | None:
    """Read a time of day: the latest such time that has passed."""
    clock = _time(text)
    if clock is None:
        return None
    found = datetime.combine(now.date(), clock)
    if found.astimezone() > now:
        found -= timedelta(days=1)
    return _moment(found)


def _written(text: str, now: datetime) -> Span | None:
    """Read a day with the name of its month, and perhaps a time: "1 Nov 2026 14:00"."""
    match = WRITTEN.fullmatch(text)
    if match is None:
        return None
    for form in FORMS:
        try:
            day = datetime.strptime(match[1].replace(",", ""), form).date()
        except ValueError:
            continue
        if match[2] is None:
            return _day(day)
        clock = _time(match[2])
        return None if clock is None else _moment(datetime.combine(day, clock))
    return None


def _time(text: str) -> time | None:
    """Read 14:00, 14:00:30, 2pm, 2:00 pm, noon, midnight; a bare number returns None."""
    match = CLOCK.fullmatch(text)
    if match is None:
        return None
    if named := match["named"]:
        return time(12 if named.lower() == "noon" else 0)
    hour, minute, second = (int(each or 0) for each in match.groups()[:3])
    half = (match[4] or "").lower()
    if half and not 1 <= hour <= 12:
        raise ValueError("hour must be in 1..12")
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    return time(hour, minute, second) if half or match[2] else None


def _day(day: date) -> Span:
    midnight = datetime.combine(day, time())
    return Span(_ms(midnight), _ms(midnight + timedelta(days=1)))


def _moment(found: datetime) -> Span:
    """Return the moment of a time, which is local if it has no zone.

    Raises SkippedTime.
    """
    span = Span(_ms(found), _ms(found.replace(fold=1)))
    if span.end_ms < span.start_ms:  # PEP 495: the other way round, the time comes twice
        raise SkippedTime(
            f"the clocks went forward over this time; give another, such as {shown(span.end_ms)}"
            f" or {shown(span.start_ms)}"
        )
    return span


def _ms(found: datetime) -> int:
    """Return milliseconds since 1970; a time without a zone is local."""
    return round(found.timestamp() * 1000)


def shown(ms: int | None) -> str:
    """Format a moment in local time with its distance to UTC, to the second."""
    if ms is None:
        return "-"
    return datetime.fromtimestamp(ms / 1000).astimezone().isoformat(" ", "seconds")


def iso(ms: int) -> str:
    """Format a moment with its zone, to the millisecond."""
    return datetime.fromtimestamp(ms / 1000).astimezone().isoformat(timespec="milliseconds")
