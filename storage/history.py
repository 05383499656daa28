"""History: the append-only record of what happened in each channel. It is the truth.

kind        of                         content
message     a user's turn              what the user wrote
answer      the turn's outcome         what the model answered
prompt      a raw completion           the text to complete
completion  its outcome                what the model wrote
error       a failed turn's outcome    the error's sentence; `code` says which
cancelled   a stopped turn's outcome   what had been written until then
reset       a reset                    nothing; the conversation starts afresh after this row
persona     a persona switch           nothing; `persona` is the new one
personas    a look at the personas     nothing
help        a look at the commands     nothing
stop        a stop                     nothing

The rows of one turn are appended together and stand next to each other: `message`, then its
outcome. A message counts for the conversation only where an `answer` follows it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "message",
    "answer",
    "prompt",
    "completion",
    "error",
    "cancelled",
    "reset",
    "persona",
    "personas",
    "help",
    "stop",
]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that happened. Tokens as the provider counted them, `latency_ms` of the answer."""

    kind: Kind
    request_id: str
    username: str | None = None
    content: str = ""
    persona: str | None = None
    provider: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_ms: int | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """A row as the conversation needs it."""

    id: int
    kind: Kind
    username: str | None
    content: str
    persona: str | None


def append(connection: sqlite3.Connection, channel_id: int, ts_ms: int, rows: Iterable[Row]) -> int:
    """Append a turn's rows, numbered within their channel; the last one's id."""
    newest = connection.execute(
        "SELECT id, seq FROM history WHERE channel_id = ? ORDER BY id DESC LIMIT 1", (channel_id,)
    ).fetchone()
    last_id, seq = newest or (0, 0)
    for seq, row in enumerate(rows, start=seq + 1):  # noqa: B020 - counts on from the last one
        last_id = connection.execute(
            "INSERT INTO history (channel_id, seq, ts_ms, kind, request_id, username, content,"
            " persona, provider, model, finish_reason, prompt_tokens, completion_tokens,"
            " latency_ms, code) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (
                channel_id,
                seq,
                ts_ms,
                row.kind,
                row.request_id,
                row.username,
                row.content,
                row.persona,
                row.provider,
                row.model,
                row.finish_reason,
                row.prompt_tokens,
                row.completion_tokens,
                row.latency_ms,
                row.code,
            ),
        ).fetchone()[0]
    return int(last_id)


def newest(connection: sqlite3.Connection, channel_id: int) -> int:
    """The id of a channel's newest row; 0 where it has none."""
    row = connection.execute(
        "SELECT id FROM history WHERE channel_id = ? ORDER BY id DESC LIMIT 1", (channel_id,)
    ).fetchone()
    return row[0] if row else 0


def tail(
    connection: sqlite3.Connection, channel_id: int, after_id: int, max_messages: int
) -> list[Past]:
    """The rows after `after_id` that a window of `max_messages` messages needs, oldest first.

    These are answered messages with their answers, the newest reset and the newest persona switch.
    Reads backwards and stops at that reset or when the window is full; what it passes over, failed
    turns and raw completions, is never held in memory.
    """
    rows: list[Past] = []
    messages = 0
    newer: Past | None = None
    cursor = connection.execute(
        "SELECT id, kind, username, content, persona FROM history"
        " WHERE channel_id = ? AND id > ? ORDER BY id DESC",
        (channel_id, after_id),
    )
    for values in cursor:
        row = Past(*values)
        if row.kind == "message" and newer is not None and newer.kind == "answer":
            rows += newer, row
            messages += 2
        elif row.kind in ("reset", "persona"):
            rows.append(row)
        if row.kind == "reset" or messages >= max_messages:
            break
        newer = row
    cursor.close()
    rows.reverse()
    if rows and not any(row.kind == "persona" for row in rows):
        rows[:0] = _persona_before(connection, channel_id, after_id, rows[0].id)
    return rows


def _persona_before(
    connection: sqlite3.Connection, channel_id: int, after_id: int, before_id: int
) -> list[Past]:
    """The newest switch of those rows. It may be far back: only without a snapshot is that far."""
    row = connection.execute(
        "SELECT id, kind, username, content, persona FROM history WHERE channel_id = ?"
        " AND id > ? AND id < ? AND kind = 'persona' ORDER BY id DESC LIMIT 1",
        (channel_id, after_id, before_id),
    ).fetchone()
    return [Past(*row)] if row else []
