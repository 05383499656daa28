"""Finds the turn of a history row and the turns next to it, for the audit page."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from storage.queries import entries
from storage.queries.entries import HistoryEntry
from storage.queries.turns import RecordedTurn

ASKED = ("message", "prompt")


@dataclass(frozen=True, slots=True)
class LocatedTurn:
    """A turn; `before` and `after` are row ids of the turns next to it in its channel."""

    turn: RecordedTurn
    before: int | None
    after: int | None

    @property
    def rows(self) -> list[HistoryEntry]:
        asked = [self.turn.asked] if self.turn.asked else []
        return [*asked, self.turn.outcome]


def turn_by_id(connection: sqlite3.Connection, row_id: int) -> LocatedTurn | None:
    """Return the turn of a row; None if there is no such row. A turn's rows are adjacent."""
    found = connection.execute("SELECT channel_id FROM history WHERE id = ?", (row_id,)).fetchone()
    if found is None:
        return None
    (channel_id,) = found
    near = [
        *reversed(_neighbours(connection, channel_id, "<", row_id)),
        *_entries(connection, "h.id = ?", "ASC", (row_id,)),
        *_neighbours(connection, channel_id, ">", row_id),
    ]
    place = next(index for index, each in enumerate(near) if each.id == row_id)
    first = last = place
    if near[place].kind in ASKED and _is_turn(near, place):
        last += 1
    elif place and _is_turn(near, place - 1):
        first -= 1
    asked = near[first] if last > first else None
    return LocatedTurn(
        RecordedTurn(channel_id, asked, near[last], 1),
        near[first - 1].id if first else None,
        near[last + 1].id if last + 1 < len(near) else None,
    )


def _is_turn(near: list[HistoryEntry], first: int) -> bool:
    """Return whether there is a question at `first`, with its outcome after it."""
    if first + 1 >= len(near):
        return False
    asked, outcome = near[first : first + 2]
    return (
        asked.kind in ASKED and outcome.kind not in ASKED and asked.request_id == outcome.request_id
    )


def _neighbours(
    connection: sqlite3.Connection, channel_id: int, side: str, row_id: int
) -> list[HistoryEntry]:
    order = "DESC" if side == "<" else "ASC"
    return _entries(
        connection, f"h.channel_id = ? AND h.id {side} ?", order, (channel_id, row_id), limit=2
    )


def _entries(
    connection: sqlite3.Connection,
    where: str,
    order: str,
    values: tuple[int, ...],
    limit: int = 1,
) -> list[HistoryEntry]:
    rows = connection.execute(
        f"{entries.SELECT} WHERE {where} ORDER BY h.id {order} LIMIT {limit}", values
    )
    return [entries.entry(row) for row in rows]
