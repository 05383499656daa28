"""Counts turns, errors and tokens in slices of time; the cost does not grow with the database.

`ts_ms` has no index, but the ids of outcomes grow with time: a slice's first row is found by binary
search. A message counts in the slice of its outcome. Up to EXACT rows in all are read. If there are
more, the first SAMPLE of each slice are read, and their numbers scaled up and rounded.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from storage.queries import entries

EXACT = 100_000  # a tenth of a second
SAMPLE = 4_000
ANSWERED = ("answer", "completion")


@dataclass(slots=True)
class Slice:
    """The activity from `start_ms` until the next slice.

    errors: failed turns by code.
    prompt_tokens, completion_tokens: as the providers counted them.
    about: whether the numbers are estimates, with two digits that count.
    """

    start_ms: int
    answered: int = 0
    stopped: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_ms: int = 0
    about: bool = False

    @property
    def failed(self) -> int:
        return self.errors.total()

    @property
    def turns(self) -> int:
        return self.answered + self.stopped + self.failed


def slices(connection: sqlite3.Connection, starts_ms: Sequence[int]) -> list[Slice]:
    """Return a slice from each of these ascending times to the next; the last one ends now."""
    firsts = [first_since(connection, start_ms) for start_ms in starts_ms]
    ends = [*firsts[1:], entries.newest_id(connection) + 1]
    limit = EXACT if ends and ends[-1] - firsts[0] <= EXACT else SAMPLE
    return [
        _slice(connection, start_ms, first, end, limit)
        for start_ms, first, end in zip(starts_ms, firsts, ends, strict=True)
    ]


def first_since(connection: sqlite3.Connection, ts_ms: int) -> int:
    """Return the id from which on outcomes are not older; one past the newest if all are older."""
    (low,) = connection.execute("SELECT coalesce(min(id), 1) FROM history").fetchone()
    high = entries.newest_id(connection) + 1
    while low < high:
        middle = (low + high) // 2
        found = connection.execute(
            "SELECT id, ts_ms FROM history WHERE id >= ? AND kind NOT IN ('message', 'prompt')"
            " ORDER BY id LIMIT 1",
            (middle,),
        ).fetchone()
        if found is None or found[1] >= ts_ms:
            high = middle
        else:
            low = found[0] + 1
    return int(low)


def _slice(
    connection: sqlite3.Connection, start_ms: int, first: int, end: int, limit: int
) -> Slice:
    rows = end - first
    found = Slice(start_ms, about=rows > limit)
    scale = rows / limit if found.about else 1.0
    for kind, code, count, prompt_tokens, completion_tokens, latency_ms in connection.execute(
        "SELECT kind, code, count(*), coalesce(sum(prompt_tokens), 0),"
        " coalesce(sum(completion_tokens), 0), coalesce(sum(latency_ms), 0)"
        " FROM history WHERE id >= ? AND id < ? GROUP BY kind, code",
        (first, min(end, first + limit)),
    ):
        if kind in ANSWERED:
            found.answered += _scaled(count, scale)
            found.latency_ms += _scaled(latency_ms, scale)
        elif kind == "cancelled":
            found.stopped += _scaled(count, scale)
        elif kind == "error":
            found.errors[code or "unknown"] += _scaled(count, scale)
        found.prompt_tokens += _scaled(prompt_tokens, scale)
        found.completion_tokens += _scaled(completion_tokens, scale)
    return found


def _scaled(number: int, scale: float) -> int:
    return number if scale == 1.0 else estimate(number * scale)


def estimate(number: float) -> int:
    """Round an estimate to the two digits that count."""
    return int(float(f"{number:.2g}"))
