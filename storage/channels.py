"""Finds and creates channels: each has a name, and an id that all other tables use."""

from __future__ import annotations

import sqlite3

from storage.writer.connection import known

ENGINE = "(engine)"
"""The channel of the engine's own events, such as erasures; no message may use it."""


def find(connection: sqlite3.Connection, name: str) -> int | None:
    """Return a channel's id; None if there is no such channel."""
    ids = known(connection).ids
    channel_id = ids.get(name)
    if channel_id is None:
        found = connection.execute("SELECT id FROM channel WHERE name = ?", (name,)).fetchone()
        if found is None:
            return None
        channel_id = int(found[0])
        ids.put(name, channel_id)
    return channel_id


def find_or_make(connection: sqlite3.Connection, name: str, now_ms: int) -> int:
    channel_id = find(connection, name)
    if channel_id is None:
        made = connection.execute(
            "INSERT INTO channel (name, created_ms) VALUES (?, ?)", (name, now_ms)
        )
        channel_id = int(made.lastrowid or 0)
        known(connection).ids.put(name, channel_id)
    return channel_id
