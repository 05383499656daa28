"""The time of the last sweep of retention, which shows whether the clock may be trusted."""

from __future__ import annotations

import sqlite3


def last_ms(connection: sqlite3.Connection) -> int | None:
    """Return when retention last ran, by the wall clock; None if it never did."""
    found = connection.execute("SELECT wall_ms FROM sweep").fetchone()
    return int(found[0]) if found else None


def trusted_ms(connection: sqlite3.Connection) -> int | None:
    """Return the last sweep; before the first one the time of the newest row, None without rows."""
    stored_ms = last_ms(connection)
    if stored_ms is not None:
        return stored_ms
    newest = connection.execute("SELECT ts_ms FROM history ORDER BY id DESC LIMIT 1").fetchone()
    return int(newest[0]) if newest else None


def begin(connection: sqlite3.Connection, now_ms: int) -> int:
    """Return the last sweep; for the first one, store and return the time of the newest row.

    Stored, because rows that are written with a wrong clock would soon look new.
    """
    if (stored_ms := last_ms(connection)) is not None:
        return stored_ms
    newest_ms = trusted_ms(connection)
    wall_ms = now_ms if newest_ms is None else newest_ms
    note(connection, wall_ms)
    return wall_ms


def note(connection: sqlite3.Connection, wall_ms: int) -> None:
    """Store the time of a sweep."""
    connection.execute("INSERT OR REPLACE INTO sweep (id, wall_ms) VALUES (1, ?)", (wall_ms,))
