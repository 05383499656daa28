"""Finds a turn by its request id, and the conversation that the model was shown."""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from storage.queries import entries
from storage.queries.entries import HistoryEntry

OUTCOMES = ("answer", "completion", "error", "cancelled")
CANDIDATES = 5000
MOST_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """A turn, as the history has it.

    asked: the message or the prompt; None for commands that need no model.
    uses: how many turns of the channel had this request id; this is the newest of them.
    """

    channel_id: int
    asked: HistoryEntry | None
    outcome: HistoryEntry
    uses: int

    @property
    def started_ms(self) -> int:
        """When the turn started; the time of the outcome if that is unknown."""
        return int((self.outcome.details or {}).get("started_ms", self.outcome.ts_ms))


def find(
    connection: sqlite3.Connection, request_id: str, channel_id: int | None = None
) -> list[RecordedTurn]:
    """Return the turn of each channel that has this request id.

    Without a channel every row is read: about a third of a second for a million.
    """
    only, values = ("", ()) if channel_id is None else (" AND h.channel_id = ?", (channel_id,))
    rows = connection.execute(
        f"SELECT h.channel_id, h.id FROM history h WHERE h.request_id = ?{only} ORDER BY h.id",  # noqa: S608
        (request_id, *values),
    ).fetchall()
    by_channel: dict[int, list[int]] = {}
    for found_in, row_id in rows:
        by_channel.setdefault(found_in, []).append(row_id)
    return [_turn(connection, found_in, ids) for found_in, ids in by_channel.items()]


def _turn(connection: sqlite3.Connection, channel_id: int, ids: list[int]) -> RecordedTurn:
    found = [_entry(connection, row_id) for row_id in ids[-2:]]
    outcome = found[-1]
    before = found[0] if len(found) == 2 else None
    is_asked = (
        before is not None
        and before.kind in ("message", "prompt")
        and before.seq == outcome.seq - 1
    )
    kinds = [
        row[0]
        for row_id in ids
        for row in connection.execute("SELECT kind FROM history WHERE id = ?", (row_id,))
    ]
    uses = sum(kind not in ("message", "prompt") for kind in kinds)
    return RecordedTurn(channel_id, before if is_asked else None, outcome, uses)


def _entry(connection: sqlite3.Connection, row_id: int) -> HistoryEntry:
    row = connection.execute(f"{entries.SELECT} WHERE h.id = ?", (row_id,)).fetchone()
    return entries.entry(row)


def exchanges_before(
    connection: sqlite3.Connection, turn: RecordedTurn, pairs: int
) -> list[tuple[HistoryEntry, HistoryEntry]]:
    """Return the newest `pairs` of message and answer that the model was shown, oldest first.

    Pairs that were erased later are included; pairs erased by then were not shown.
    """
    if turn.asked is None:
        return []
    found: list[tuple[HistoryEntry, HistoryEntry]] = []
    newer: HistoryEntry | None = None
    for row in _backwards(connection, turn.channel_id, turn.asked.id):
        if row.kind == "reset" or len(found) == pairs:
            break
        if row.kind == "message" and newer is not None and newer.kind == "answer":
            pair = (row, newer)
            found += [] if any(_is_erased(each, turn.started_ms) for each in pair) else [pair]
        newer = row
    found.reverse()
    return found


def _backwards(
    connection: sqlite3.Connection, channel_id: int, before_id: int
) -> Iterator[HistoryEntry]:
    cursor = connection.execute(
        f"{entries.SELECT} WHERE h.channel_id = ? AND h.id < ? ORDER BY h.id DESC",
        (channel_id, before_id),
    )
    for row in cursor:
        yield entries.entry(row)


def _is_erased(row: HistoryEntry, by_ms: int) -> bool:
    return row.erased_ms is not None and row.erased_ms <= by_ms


def nearest(connection: sqlite3.Connection, request_id: str, limit: int = 3) -> list[str]:
    """Return ids that begin with this one, then similar ids of the newest turns."""
    begins = connection.execute(
        "SELECT DISTINCT request_id FROM history WHERE substr(request_id, 1, ?) = ? LIMIT ?",
        (len(request_id), request_id, limit),
    ).fetchall()
    newest = connection.execute(
        "SELECT DISTINCT request_id FROM"
        " (SELECT request_id FROM history ORDER BY id DESC LIMIT ?) LIMIT ?",
        (MOST_ROWS, CANDIDATES),
    ).fetchall()
    close = difflib.get_close_matches(request_id, [row[0] for row in newest], n=limit)
    return list(dict.fromkeys([*(row[0] for row in begins), *close]))[:limit]
