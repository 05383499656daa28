"""Finds how long a provider asks to wait, in the headers or the body of an error."""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from providers.http.error_report import ErrorReport, as_dict

LONGEST_S = 24 * 3600.0

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(
    r"(\d+(?:\.\d+)?)\s*(ms|milli\w*|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)"
    r"(?![a-z])[\s,]*(?:and\s+)?",
    re.IGNORECASE,
)
_TOLD = re.compile(
    r"\b(?:try again|retry|retrying|wait|available again)\b(?: again)?(?: in| after| for)?"
    r"(?: at least| about| approximately)? (?=\d)",
    re.IGNORECASE,
)
# Larger numbers are points in time, not durations: in seconds, or in milliseconds.
_EPOCH_S, _EPOCH_MS = 1e9, 1e11


def retry_after_s(headers: Mapping[str, str], report: ErrorReport) -> float | None:
    """Return the seconds that the provider asks to wait; None if it gives no valid time.

    A time of more than a day is none.
    """
    return _first_valid(*_in_headers(headers), *_in_body(report), _in_text(report.text))


def reset_of_limits_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until a rate limit is reset, by headers that some replies always have.

    Several limits may be sent. Those with nothing left hold the call up until the last is reset;
    if none is marked like this, any may be meant, and the call is tried after the first.
    """
    ends: dict[bool, list[float]] = {True: [], False: []}
    for kind in ("", "-requests", "-tokens"):
        end = _until_reset(headers.get(f"x-ratelimit-reset{kind}"))
        if end is not None:
            ends[headers.get(f"x-ratelimit-remaining{kind}") == "0"].append(end)
    return _first_valid(max(ends[True], default=None), min(ends[False], default=None))


def _first_valid(*told: float | None) -> float | None:
    valid = (s for s in told if s is not None and math.isfinite(s) and 0 <= s <= LONGEST_S)
    return next(valid, None)


def _in_headers(headers: Mapping[str, str]) -> Iterator[float | None]:
    milliseconds = _number(headers.get("retry-after-ms"))
    yield None if milliseconds is None else milliseconds / 1000
    yield _number(headers.get("retry-after"))
    yield _seconds_until(headers.get("retry-after"))


def _in_body(report: ErrorReport) -> Iterator[float | None]:
    for found in report.objects:
        for key in ("retry_after", "retry_after_seconds", "estimated_time"):
            yield _number(found.get(key))
        yield _delay(found.get("retryDelay"))
        sent = {k.lower(): str(v) for k, v in as_dict(found.get("headers")).items()}
        yield from _in_headers(sent)
        yield _until_reset(sent.get("x-ratelimit-reset"))


def _in_text(text: str) -> float | None:
    told = _TOLD.search(text)
    return _duration(text[told.end() :]) if told else None


def _until_reset(value: str | None) -> float | None:
    """Return the seconds until a reset, given as a duration, or as a point in time."""
    number = _number(value)
    if number is None:
        return _duration(value or "")
    if number < _EPOCH_S:
        return number
    then = number / 1000 if number >= _EPOCH_MS else number
    return then - time.time() if then > time.time() else None


def _delay(value: object) -> float | None:
    """Return a duration of Google's: "34s", or an object with seconds."""
    if isinstance(value, dict):
        return _number(value.get("seconds"))
    return _duration(value) if isinstance(value, str) else None


def _duration(text: str) -> float | None:
    """Return the duration at the start of a text, in seconds: "6m0s", "120ms", "20 seconds"."""
    total, position = 0.0, 0
    while part := _PART.match(text, position):
        word = part[2].lower()
        unit = "ms" if word.startswith(("ms", "milli")) else word[0]
        total += float(part[1]) * _UNITS_S[unit]
        position = part.end()
    return total if position else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _seconds_until(date: str | None) -> float | None:
    try:
        then = email.utils.parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return then - time.time() if then > time.time() else None
