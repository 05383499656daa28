"""Stores which channels are suspended after too many crashes, and until when."""

from __future__ import annotations

import sqlite3


def save(connection: sqlite3.Connection, name: str, until_ms: int) -> None:
    connection.execute(
        "INSERT INTO suspension (channel_id, until_ms) SELECT id, ? FROM channel WHERE name = ?"
        " ON CONFLICT (channel_id) DO UPDATE SET until_ms = excluded.until_ms",
        (until_ms, name),
    )


def lift(connection: sqlite3.Connection, name: str) -> None:
    connection.execute(
        "DELETE FROM suspension WHERE channel_id = (SELECT id FROM channel WHERE name = ?)", (name,)
    )


def load(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the end of each channel's suspension, in ms since 1970, by channel name."""
    return dict(
        connection.execute(
            "SELECT c.name, s.until_ms FROM suspension s JOIN channel c ON c.id = s.channel_id"
        )
    )
