"""Pages of a channel's history for the audit page: back and forth from any row."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from storage.queries import entries
from storage.queries.entries import HistoryEntry

WINDOW_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A page of entries, oldest first.

    older: the `before` of the previous page; None if there is none.
    newer: the `after` of the next page; None if there is none.
    """

    entries: list[HistoryEntry]
    older: int | None
    newer: int | None


def name_of(connection: sqlite3.Connection, channel_id: int) -> str | None:
    found = connection.execute("SELECT name FROM channel WHERE id = ?", (channel_id,)).fetchone()
    return found[0] if found else None


def back(
    connection: sqlite3.Connection,
    channel_id: int,
    *,
    before: int | None = None,
    user: str = "",
    limit: int,
) -> HistoryPage:
    """Return the newest rows, or those before row `before`; if `user` is given, only theirs.

    With `user`, at most WINDOW_ROWS rows are read for one page.
    """
    bound = before if before is not None else 2**62
    window = _window_end(connection, channel_id, "<", bound)
    found = _entries(connection, channel_id, "<", bound, window, user, limit)
    found.reverse()
    return _page(connection, channel_id, found, window, bound - 1)


def forth(
    connection: sqlite3.Connection, channel_id: int, *, after: int, user: str = "", limit: int
) -> HistoryPage:
    """Return the next rows after row `after`."""
    window = _window_end(connection, channel_id, ">", after)
    found = _entries(connection, channel_id, ">", after, window, user, limit)
    return _page(connection, channel_id, found, after + 1, window)


def around(connection: sqlite3.Connection, channel_id: int, *, at: int, limit: int) -> HistoryPage:
    """Return row `at` in the middle of its neighbours."""
    half = limit // 2
    before = back(connection, channel_id, before=at + 1, limit=half)
    after = forth(connection, channel_id, after=at, limit=half)
    return _page(connection, channel_id, before.entries + after.entries, at + 1, at)


def _window_end(connection: sqlite3.Connection, channel_id: int, side: str, bound: int) -> int:
    """Return the last id of the window of rows on this side of `bound`."""
    order, end = ("DESC", 0) if side == "<" else ("ASC", 2**62)
    found = connection.execute(
        f"SELECT id FROM history WHERE channel_id = ? AND id {side} ?"  # noqa: S608
        f" ORDER BY id {order} LIMIT 1 OFFSET ?",
        (channel_id, bound, WINDOW_ROWS - 1),
    ).fetchone()
    return found[0] if found else end


def _entries(
    connection: sqlite3.Connection,
    channel_id: int,
    side: str,
    bound: int,
    window: int,
    user: str,
    limit: int,
) -> list[HistoryEntry]:
    order, within = ("DESC", ">=") if side == "<" else ("ASC", "<=")
    of_user = "AND h.username = ?" if user else ""
    rows = connection.execute(
        f"{entries.SELECT} WHERE h.channel_id = ? AND h.id {side} ?"
        f" AND h.id {within} ? {of_user} ORDER BY h.id {order} LIMIT ?",
        (channel_id, bound, window, *([user] if user else []), limit),
    )
    return [entries.entry(row) for row in rows]


def _page(
    connection: sqlite3.Connection, channel_id: int, found: list[HistoryEntry], low: int, high: int
) -> HistoryPage:
    """Return a page with its neighbours' ids: `low` and `high` if nothing was found."""
    first = found[0].id if found else low
    last = found[-1].id if found else high
    return HistoryPage(
        found,
        first if _exists(connection, channel_id, "<", first) else None,
        last if _exists(connection, channel_id, ">", last) else None,
    )


def _exists(connection: sqlite3.Connection, channel_id: int, side: str, bound: int) -> bool:
    found = connection.execute(
        f"SELECT 1 FROM history WHERE channel_id = ? AND id {side} ? LIMIT 1",  # noqa: S608
        (channel_id, bound),
    ).fetchone()
    return found is not None
