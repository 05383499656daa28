"""What an operator wants to know of the store at any time; none of it looks at history."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

MANY = 100_000


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """`channels` ever spoken in; `waiting` commands in the mailbox; `unpublished` outcomes, counted
    up to 100,000, and since when the oldest of them stands there (wall clock, None where there is
    none); `size_bytes` of the file without its write-ahead log.
    """

    channels: int
    waiting: int
    unpublished: int
    oldest_unpublished_ms: int | None
    size_bytes: int


def read(connection: sqlite3.Connection) -> StoreStatistics:
    """Cheap, however much there is: the newest channel's id stands for their number."""
    channels, waiting, unpublished, oldest, pages, page_bytes = connection.execute(
        "SELECT (SELECT coalesce(max(id), 0) FROM channel), (SELECT count(*) FROM mailbox),"
        " (SELECT count(*) FROM (SELECT 1 FROM outbox WHERE published_ms IS NULL LIMIT ?)),"
        " (SELECT created_ms FROM outbox WHERE published_ms IS NULL ORDER BY id LIMIT 1),"
        " (SELECT page_count FROM pragma_page_count), (SELECT page_size FROM pragma_page_size)",
        (MANY,),
    ).fetchone()
    return StoreStatistics(channels, waiting, unpublished, oldest, pages * page_bytes)


def touch(connection: sqlite3.Connection) -> None:
    """Write for the sake of writing: what cannot be written raises, and all stays as it is."""
    touched = connection.execute(
        "UPDATE channel SET created_ms = created_ms WHERE id = (SELECT max(id) FROM channel)"
    )
    if not touched.rowcount:
        connection.execute("INSERT INTO channel (id, name, created_ms) VALUES (1, '', 0)")
        connection.execute("DELETE FROM channel WHERE id = 1")
