"""Turns of all channels, newest first, with facets; reads a limited window of rows."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from storage.queries import entries

WINDOW_ROWS = 50_000
FACET_SIZE = 12
# The facets to filter by, and their columns.
FACETS = {
    "kind": "kind",
    "code": "code",
    "persona": "persona",
    "provider": "provider",
    "model": "model",
    "user": "username",
    "channel": "channel_id",
}


@dataclass(frozen=True, slots=True)
class RecentTurn:
    """The outcome of a turn. `question` is the message or prompt; None without one or if erased."""

    id: int
    channel_id: int
    channel: str
    ts_ms: int
    kind: str
    username: str | None
    question: str | None
    content: str
    persona: str | None
    provider: str | None
    model: str | None
    tokens: int
    latency_ms: int | None
    code: str | None
    erased: bool


@dataclass(frozen=True, slots=True)
class FacetValue:
    """A value of a facet: `key` selects it, `label` is shown."""

    key: str
    label: str
    count: int


@dataclass(frozen=True, slots=True)
class RecentTurns:
    """A page of turns, and the facets of its window.

    next_before: the `before` of the next page; None if this is the last.
    scanned_to: the oldest row that was read; None if it was the first of all.
    """

    outcomes: list[RecentTurn]
    facets: dict[str, list[FacetValue]]
    next_before: int | None
    scanned_to: int | None


def find(
    connection: sqlite3.Connection, chosen: Mapping[str, str], *, before: int | None, limit: int
) -> RecentTurns:
    """Return the turns that have these values, among the WINDOW_ROWS rows before row `before`.

    chosen: values by keys of FACETS; a channel is given by its id.
    """
    where, values = _where(chosen)
    high = before if before is not None else entries.newest_id(connection) + 1
    low = _low(connection, chosen.get("channel"), high)
    bounds: tuple[str | int, ...] = (low, high, *values)
    ids = [
        row_id
        for (row_id,) in connection.execute(
            "SELECT id FROM history h WHERE id >= ? AND id < ?"  # noqa: S608
            f" AND {where} ORDER BY id DESC LIMIT ?",
            (*bounds, limit + 1),
        )
    ]
    next_before = ids[limit - 1] if len(ids) > limit else (low if low > 1 else None)
    return RecentTurns(
        [_outcome(connection, row_id) for row_id in ids[:limit]],
        _facets(connection, where, bounds),
        next_before,
        low if low > 1 else None,
    )


def _where(chosen: Mapping[str, str]) -> tuple[str, list[str]]:
    terms = ["kind NOT IN ('message', 'prompt')"]
    values = []
    for name, value in chosen.items():
        terms.append(f"{FACETS[name]} = ?")
        values.append(value)
    return " AND ".join(terms), values


def _low(connection: sqlite3.Connection, channel_id: str | None, high: int) -> int:
    """Return the oldest row to read: a channel's rows may be far apart."""
    if channel_id is None:
        return max(1, high - WINDOW_ROWS)
    found = connection.execute(
        "SELECT id FROM history WHERE channel_id = ? AND id < ? ORDER BY id DESC LIMIT 1 OFFSET ?",
        (channel_id, high, WINDOW_ROWS),
    ).fetchone()
    return found[0] if found else 1


def _facets(
    connection: sqlite3.Connection, where: str, bounds: tuple[str | int, ...]
) -> dict[str, list[FacetValue]]:
    counters: list[Counter[str | int | None]] = [Counter() for _ in FACETS]
    for row in connection.execute(
        f"SELECT {', '.join(FACETS.values())} FROM history h"  # noqa: S608
        f" WHERE id >= ? AND id < ? AND {where}",
        bounds,
    ):
        for counter, value in zip(counters, row, strict=True):
            counter[value] += 1
    facets = {}
    for name, counter in zip(FACETS, counters, strict=True):
        del counter[None]
        facets[name] = [
            FacetValue(str(key), _label(connection, name, key), count)
            for key, count in counter.most_common(FACET_SIZE)
        ]
    return facets


def _label(connection: sqlite3.Connection, facet: str, key: str | int | None) -> str:
    if facet != "channel":
        return str(key)
    found = connection.execute("SELECT name FROM channel WHERE id = ?", (key,)).fetchone()
    return str(found[0])


def _outcome(connection: sqlite3.Connection, row_id: int) -> RecentTurn:
    *facts, tokens, latency_ms, code, erased_ms, request_id = connection.execute(
        "SELECT h.id, h.channel_id, c.name, h.ts_ms, h.kind, h.username, h.content, h.persona,"
        " h.provider, h.model, coalesce(h.prompt_tokens, 0) + coalesce(h.completion_tokens, 0),"
        " h.latency_ms, h.code, h.erased_ms, h.request_id"
        " FROM history h JOIN channel c ON c.id = h.channel_id WHERE h.id = ?",
        (row_id,),
    ).fetchone()
    id_, channel_id, channel, ts_ms, kind, username, content, persona, provider, model = facts
    return RecentTurn(
        id_,
        channel_id,
        channel,
        ts_ms,
        kind,
        username,
        _question(connection, channel_id, row_id, request_id),
        content,
        persona,
        provider,
        model,
        tokens,
        latency_ms,
        code,
        erased_ms is not None,
    )


def _question(
    connection: sqlite3.Connection, channel_id: int, row_id: int, request_id: str
) -> str | None:
    """Return what was asked: it is in the row before, as the rows of a turn are adjacent."""
    before = connection.execute(
        "SELECT kind, request_id, content, erased_ms FROM history"
        " WHERE channel_id = ? AND id < ? ORDER BY id DESC LIMIT 1",
        (channel_id, row_id),
    ).fetchone()
    if before is None:
        return None
    kind, of_request, content, erased_ms = before
    asked = kind in ("message", "prompt") and of_request == request_id and erased_ms is None
    return str(content) if asked else None
