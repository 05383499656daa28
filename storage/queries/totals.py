"""Counts turns by channel, user, model, day and so on: outcomes, tokens, latencies."""

from __future__ import annotations

import heapq
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

from storage.queries.selection import Selection

By = Literal["channel", "user", "persona", "provider", "model", "day", "hour"]
KEYS: dict[By | None, str] = {
    None: "NULL",
    "channel": "h.channel_id",
    "user": "h.username",
    "persona": "h.persona",
    "provider": "h.provider",
    "model": "h.model",
    "day": "strftime('%Y-%m-%d', h.ts_ms / 1000, 'unixepoch', 'localtime')",
    "hour": "strftime('%Y-%m-%d %H:00', h.ts_ms / 1000, 'unixepoch', 'localtime')",
}


@dataclass(slots=True)
class TurnTotals:
    """The totals of one key's turns: errors by code, percentiles of the answers' latency."""

    key: str | None
    answers: int = 0
    cancelled: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    p50_ms: int | None = None
    p90_ms: int | None = None
    p99_ms: int | None = None

    @property
    def turns(self) -> int:
        return self.answers + self.cancelled + self.errors.total()


def totals(
    connection: sqlite3.Connection, selection: Selection, by: By | None, limit: int
) -> list[TurnTotals]:
    """Return the `limit` keys with the most turns; for days and hours the newest, in order.

    Without `by`, return one total of all turns. Reads all rows of the selection once and sorts
    their outcomes.
    """
    found = (_total(key, rows) for key, rows in _by_key(connection, selection, by))
    if by in ("day", "hour"):
        return list(found)[-limit:]
    most = heapq.nlargest(limit, found, key=lambda each: each.turns)
    if by is None:
        return most or [TurnTotals(None)]
    if by == "channel":
        for each in most:
            each.key = _channel_name(connection, each.key)
    return most


def _by_key(
    connection: sqlite3.Connection, selection: Selection, by: By | None
) -> Iterator[tuple[Any, Iterator[sqlite3.Row]]]:
    where, values = selection.where
    rows = connection.execute(
        f"SELECT {KEYS[by]}, kind, ifnull(code, ''), latency_ms, count(*), sum(prompt_tokens),"  # noqa: S608
        " sum(completion_tokens) FROM history h"
        f" WHERE kind IN ('answer', 'completion', 'error', 'cancelled') AND {where}"
        " GROUP BY 1, 2, 3, 4 ORDER BY 1, 4",
        values,
    )
    return groupby(rows, key=lambda row: row[0])


def _total(key: Any, rows: Iterator[sqlite3.Row]) -> TurnTotals:
    total = TurnTotals(key)
    latencies: list[tuple[int, int]] = []
    for _, kind, code, latency_ms, count, prompt_tokens, completion_tokens in rows:
        if kind == "error":
            total.errors[code] += count
        elif kind == "cancelled":
            total.cancelled += count
        else:
            total.answers += count
            if latency_ms is not None:
                latencies.append((latency_ms, count))
        total.prompt_tokens += prompt_tokens or 0
        total.completion_tokens += completion_tokens or 0
    total.p50_ms, total.p90_ms, total.p99_ms = (_percentile(latencies, q) for q in (50, 90, 99))
    return total


def _percentile(latencies: list[tuple[int, int]], percent: int) -> int | None:
    """Return a percentile of sorted (latency, count) pairs; None without pairs."""
    wanted = sum(count for _, count in latencies) * percent
    seen = 0
    for latency_ms, count in latencies:
        seen += count * 100
        if seen >= wanted:
            return latency_ms
    return None


def _channel_name(connection: sqlite3.Connection, channel_id: Any) -> str:
    row = connection.execute("SELECT name FROM channel WHERE id = ?", (channel_id,)).fetchone()
    return str(row[0])


def span_ms(connection: sqlite3.Connection, selection: Selection) -> int:
    """Return the time from the first to the last row of a selection."""
    where, values = selection.where
    row = connection.execute(
        f"SELECT max(ts_ms) - min(ts_ms) FROM history h WHERE {where}",  # noqa: S608
        values,
    ).fetchone()
    return int(row[0] or 0)
