"""What has not come to an end yet, and how much there is in all."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backlog:
    """`oldest_ms`: since when the oldest command waits. `unpublished`: answers that NATS lacks."""

    waiting: int
    oldest_ms: int | None
    unpublished: int
    suspended: int


@dataclass(frozen=True, slots=True)
class StoreTotals:
    """`rows` of history that were ever written, `channels` that were ever seen."""

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
    """From the greatest ids: nothing is counted, so it costs the same for any database."""
    newest = connection.execute("SELECT id, ts_ms FROM history ORDER BY id DESC LIMIT 1").fetchone()
    (channels,) = connection.execute("SELECT coalesce(max(id), 0) FROM channel").fetchone()
    rows, newest_ms = newest if newest else (0, None)
    return StoreTotals(rows, channels, newest_ms)
