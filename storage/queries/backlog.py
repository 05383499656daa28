"""The store's backlog (waiting commands, unpublished outcomes, suspensions) and its totals."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backlog:
    """Unfinished work. `oldest_ms`: since when the oldest command waits; None if none waits."""

    waiting: int
    oldest_ms: int | None
    unpublished: int
    suspended: int


@dataclass(frozen=True, slots=True)
class StoreTotals:
    """How many history rows and channels were ever written, and when the newest row was."""

    rows: int
    channels: int
    newest_ms: int | None


def backlog(connection: sqlite3.Connection, now_ms: int) -> Backlog:
    waiting, oldest_ms = connection.execute(
        "SELECT count(*), min(accepted_ms) FROM mailbox"
    ).fetchone()
    (unpublished,) = connection.execute(
        "SELECT count(*) FROM outbox WHERE published_ms IS NULL"
    ).fetchone()
    (suspended,) = connection.execute(
        "SELECT count(*) FROM suspension WHERE until_ms > ?", (now_ms,)
    ).fetchone()
    return Backlog(waiting, oldest_ms, unpublished, suspended)


def totals(connection: sqlite3.Connection) -> StoreTotals:
    """Return the totals, from the greatest ids: the cost is the same for any database."""
    newest = connection.execute("SELECT id, ts_ms FROM history ORDER BY id DESC LIMIT 1").fetchone()
    (channels,) = connection.execute("SELECT coalesce(max(id), 0) FROM channel").fetchone()
    rows, newest_ms = newest if newest else (0, None)
    return StoreTotals(rows, channels, newest_ms)
