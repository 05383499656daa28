"""Snapshots: the latest state of each channel, stored to start without its whole history."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from storage import history
from storage.history import PastRow


@dataclass(frozen=True, slots=True)
class LoadedSnapshot:
    """A channel's snapshot, if it has one, and the rows after it.

    body: the snapshot, or None.
    snapshot_upto: the id of the history row up to which the snapshot goes.
    upto: the id of the channel's newest row, which may not be among `rows`.
    rows: those after the snapshot that change the conversation, oldest first.
    """

    body: bytes | None
    snapshot_upto: int
    upto: int
    rows: list[PastRow]


def save(connection: sqlite3.Connection, name: str, upto: int, ts_ms: int, body: bytes) -> None:
    """Store `body` as the state after history row `upto`; never replace a newer one."""
    connection.execute(
        "INSERT INTO snapshot (channel_id, upto, ts_ms, body)"
        " SELECT id, ?, ?, ? FROM channel WHERE name = ?"
        " ON CONFLICT (channel_id) DO UPDATE SET upto = excluded.upto, ts_ms = excluded.ts_ms,"
        " body = excluded.body WHERE excluded.upto >= upto",
        (upto, ts_ms, body, name),
    )


def load(
    connection: sqlite3.Connection, name: str, max_messages: int, *, trust_snapshot: bool = True
) -> LoadedSnapshot:
    """Load a channel by its name; without `trust_snapshot`, from the history alone."""
    found = connection.execute(
        "SELECT c.id, s.upto, s.body FROM channel c LEFT JOIN snapshot s ON s.channel_id = c.id"
        " WHERE c.name = ?",
        (name,),
    ).fetchone()
    if found is None:
        return LoadedSnapshot(None, 0, 0, [])
    channel_id, upto, body = found
    if body is None or not trust_snapshot:
        upto, body = 0, None
    rows = history.tail(connection, channel_id, upto, max_messages)
    return LoadedSnapshot(body, upto, max(upto, history.newest(connection, channel_id)), rows)
