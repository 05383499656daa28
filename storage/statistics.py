"""Statistics of the store for operators; cheap, since they never read the history."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

MANY = 100_000


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """The store's size and its waiting work.

    channels: how many were ever used.
    waiting: commands in the mailbox.
    unpublished: outcomes to publish, counted up to 100,000.
    oldest_unpublished_ms: when the oldest was stored, in ms since 1970; None if there is none.
    size_bytes: of the file without its WAL.
    """

    channels: int
    waiting: int
    unpublished: int
    oldest_unpublished_ms: int | None
    size_bytes: int


def read(connection: sqlite3.Connection) -> StoreStatistics:
    """Read the statistics. The newest channel's id is taken as the number of channels."""
    channels, waiting, unpublished, oldest, pages, page_bytes = connection.execute(
        "SELECT (SELECT coalesce(max(id), 0) FROM channel), (SELECT count(*) FROM mailbox),"
        " (SELECT count(*) FROM (SELECT 1 FROM outbox WHERE published_ms IS NULL LIMIT ?)),"
        " (SELECT created_ms FROM outbox WHERE published_ms IS NULL ORDER BY id LIMIT 1),"
        " (SELECT page_count FROM pragma_page_count), (SELECT page_size FROM pragma_page_size)",
        (MANY,),
    ).fetchone()
    return StoreStatistics(channels, waiting, unpublished, oldest, pages * page_bytes)


def touch(connection: sqlite3.Connection) -> None:
    """Test that the database can be written: raise if it cannot, and change nothing."""
    touched = connection.execute(
        "UPDATE channel SET created_ms = created_ms WHERE id = (SELECT max(id) FROM channel)"
    )
    if not touched.rowcount:
        connection.execute("INSERT INTO channel (id, name, created_ms) VALUES (1, '', 0)")
        connection.execute("DELETE FROM channel WHERE id = 1")
