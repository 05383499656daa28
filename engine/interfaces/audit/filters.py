"""Template filters of the audit page: format times, numbers, names and long texts."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from datetime import datetime

from engine.clock import now_ms
from engine.interfaces.reports import output
from storage.queries.entries import HistoryEntry
from storage.row_kinds import label_parts

HUES = 12
EXCERPT = 220
BUBBLE = 4_000
MICRO = 1_000_000


def moment(ms: int | None) -> str:
    """Format as 23 Nov 2026, 14:03:05."""
    if ms is None:
        return ""
    local = _local(ms)
    return f"{local.day} {local:%b %Y, %H:%M:%S}"


def day(ms: int) -> str:
    """Format as Monday, 23 November 2026."""
    local = _local(ms)
    return f"{local:%A}, {local.day} {local:%B %Y}"


def clock(ms: int) -> str:
    return f"{_local(ms):%H:%M}"


def iso(ms: int) -> str:
    return _local(ms).isoformat(timespec="milliseconds")


def ago(ms: int | None) -> str:
    """Format how long ago a moment was, in its largest unit: 3 h ago."""
    if ms is None:
        return "never"
    seconds = max(0, now_ms() - ms) // 1000
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return "just now" if seconds < 10 else f"{seconds} s ago"


def took(ms: int | None) -> str:
    if ms is None:
        return ""
    if ms < 1_000:
        return f"{ms} ms"
    return f"{ms / 1_000:.1f} s" if ms < 90_000 else f"{ms / 60_000:.1f} min"


def amount(count: int) -> str:
    return f"{count:,}"


def counted(count: int, noun: str) -> str:
    return output.counted(count, noun)


def usd(micro_usd: int) -> str:
    """Format an amount of money, given in millionths of a dollar: $1,234.56, $0.0042."""
    digits = 2 if micro_usd % 10_000 == 0 or micro_usd >= MICRO else 4
    return f"${micro_usd / MICRO:,.{digits}f}"


def brief(count: int) -> str:
    """Format a large number as 12.3k."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size * 10 or (size > 1_000 and count >= size):
            return f"{count / size:.1f}{unit}".replace(".0", "")
    return amount(count)


def hue(name: str | None) -> int:
    """Return a colour number, always the same one for the same name."""
    return zlib.adler32((name or "").encode()) % HUES


def initial(name: str | None) -> str:
    return next((letter.upper() for letter in name or "" if letter.isalnum()), "?")


def excerpt(text: str, most: int = EXCERPT) -> str:
    """Return the beginning of the text on one line."""
    line = " ".join(text[: most * 4].split())
    return line if len(line) <= most else line[:most].rstrip() + "…"


def bubble(text: str) -> str:
    return text if len(text) <= BUBBLE else text[:BUBBLE] + " …"


def label(entry: HistoryEntry) -> tuple[str, str | None, str]:
    """Return what a user did in a row of a notice, as `label_parts` does."""
    return label_parts(entry.kind, entry.persona, entry.full_model)


def visible(name: object) -> str:
    """Format a name, so that it cannot hide or reorder a part of itself."""
    return output.visible(str(name), "")


def _local(ms: int) -> datetime:
    try:
        return datetime.fromtimestamp(ms / 1000).astimezone()
    except (OverflowError, OSError, ValueError):
        return datetime.fromtimestamp(0).astimezone()


FILTERS: dict[str, Callable[..., object]] = {
    filter_.__name__: filter_
    for filter_ in (
        moment,
        day,
        clock,
        iso,
        ago,
        took,
        amount,
        counted,
        usd,
        brief,
        hue,
        initial,
        excerpt,
        bubble,
        label,
        visible,
    )
}
