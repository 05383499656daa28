"""The events of erasures: each is a row of the history that says which rows lost their text.

An event is a row of the engine's own channel, chained like any other and committed together with
the rows that it erases. So a row without text is either covered by an event or was tampered with.

`details` of an event:

cause   order (`rosey-llm history erase`), retention, or migration (erased before there were events)
rows    how many rows it erased
ids     their ids, as [first, last] of each run
reason  the text of --reason, if there was one
by      the user of the operating system who gave the order
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import orjson

from storage import channels, history
from storage.history import Row, TurnRows
from storage.row_kinds import Kind

KIND: Kind = "erased"
Cause = Literal["order", "retention"]
Ranges = list[list[int]]


class Erasure(NamedTuple):
    """Why rows are erased: an order with its reason and its user, or retention."""

    cause: Cause
    reason: str = ""
    by: str = ""


def append(
    connection: sqlite3.Connection, erasure: Erasure, row_ids: Sequence[int], now_ms: int
) -> None:
    """Append the event of an erasure of these rows, which are in the order of their ids."""
    details: dict[str, Any] = {
        "cause": erasure.cause,
        "rows": len(row_ids),
        "ids": ranges(row_ids),
    }
    if erasure.reason:
        details["reason"] = erasure.reason
    if erasure.by:
        details["by"] = erasure.by
    channel_id = channels.find_or_make(connection, channels.ENGINE, now_ms)
    row = Row(
        KIND, f"erased-{row_ids[0]}", content=_sentence(erasure, len(row_ids)), details=details
    )
    history.append(connection, [TurnRows(channel_id, now_ms, [row])])


def _sentence(erasure: Erasure, count: int) -> str:
    rows = "1 row was erased" if count == 1 else f"{count} rows were erased"
    if erasure.cause == "retention":
        return f"{rows}: too old to be kept."
    by = f" by order of {erasure.by}" if erasure.by else " by order"
    return f"{rows}{by}" + (f": {erasure.reason}" if erasure.reason else ".")


def ranges(row_ids: Sequence[int]) -> Ranges:
    """Return increasing ids as the first and last one of each run."""
    found: Ranges = []
    for row_id in row_ids:
        if found and row_id == found[-1][1] + 1:
            found[-1][1] = row_id
        else:
            found.append([row_id, row_id])
    return found


def covered(connection: sqlite3.Connection) -> Ranges:
    """Return the ids that all events cover, as increasing runs that do not overlap."""
    rows = connection.execute(
        "SELECT h.id, h.details FROM history h JOIN channel c ON c.id = h.channel_id"
        " WHERE c.name = ? AND h.kind = ?",
        (channels.ENGINE, KIND),
    )
    found = [
        [first, min(last, event_id - 1)]  # an event covers nothing that came after it
        for event_id, details in rows
        for first, last in orjson.loads(details)["ids"]
    ]
    merged: Ranges = []
    for first, last in sorted(found):
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    return merged
