"""Reads whole rows of the history, as they are shown and exported."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from storage.queries import row_times
from storage.queries.selection import Selection

CHUNK = 1000
COLUMNS = (
    "h.id, c.name AS channel, h.seq, h.ts_ms, h.kind, h.request_id, h.username, h.content,"
    " h.persona, h.provider, h.model, h.finish_reason, h.prompt_tokens, h.completion_tokens,"
    " h.latency_ms, h.code, h.details, h.personal, h.salt, h.digest, h.private, h.erased_ms,"
    # As long as the outbox has the outcome, the time of publication is there.
    " coalesce(h.published_ms, (SELECT o.published_ms FROM {schema}outbox o WHERE"
    " o.channel_id = h.channel_id AND o.request_id = h.request_id AND o.history_id = h.id))"
    " AS published_ms, {time_ms} AS time_ms"
)


def columns(schema: str = "") -> str:
    """Return the columns of an entry, from the database that is attached as `schema`."""
    return COLUMNS.format(schema=schema, time_ms=row_times.time_ms(schema))


SELECT = (
    f"SELECT {columns()} FROM history h"  # noqa: S608
    " JOIN channel c ON c.id = h.channel_id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """A row of the history; see `storage/history.py` and `storage/hash_chain.py`.

    time_ms: the time to show; `ts_ms` is the stored one, which is part of the digest.
    """

    id: int
    channel: str
    seq: int
    ts_ms: int
    kind: str
    request_id: str
    username: str | None
    content: str
    persona: str | None
    provider: str | None
    model: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_ms: int | None
    code: str | None
    details: dict[str, Any] | None
    personal: dict[str, Any] | None
    salt: bytes | None
    digest: bytes
    private: bytes | None
    erased_ms: int | None
    published_ms: int | None
    time_ms: int

    @property
    def erased(self) -> bool:
        return self.erased_ms is not None

    @property
    def user_id(self) -> str | None:
        """The platform's id of the user; None if none was given, or it was erased."""
        return (self.personal or {}).get("user_id")

    @property
    def prompt_salt(self) -> bytes | None:
        """The key of the digest of the turn's prompt; None if it has none, or was erased."""
        try:
            return bytes.fromhex((self.personal or {})["prompt_salt"])
        except (KeyError, TypeError, ValueError):  # `history verify` finds what was changed
            return None

    @property
    def full_model(self) -> str | None:
        """The model behind its provider: "ollama/llama3.2"; None if the row names neither."""
        return "/".join(filter(None, (self.provider, self.model))) or None

    @property
    def record(self) -> dict[str, Any]:
        """The row for JSON, with bytes as hexadecimal digits."""
        return {
            name: value.hex() if isinstance(value, bytes) else value
            for name, value in asdict(self).items()
            if name != "time_ms"
        }


def newest(connection: sqlite3.Connection, selection: Selection, limit: int) -> list[HistoryEntry]:
    """Return the newest `limit` rows of a selection, oldest first."""
    where, values = selection.where
    rows = connection.execute(
        f"{SELECT} WHERE {where} ORDER BY h.id DESC LIMIT ?", (*values, limit)
    ).fetchall()
    return [entry(row) for row in reversed(rows)]


def after(
    connection: sqlite3.Connection, selection: Selection, after_id: int, limit: int = CHUNK
) -> list[HistoryEntry]:
    """Return the first `limit` rows of a selection with a greater id, oldest first."""
    where, values = selection.where
    rows = connection.execute(
        f"{SELECT} WHERE {where} AND h.id > ? ORDER BY h.id LIMIT ?", (*values, after_id, limit)
    )
    return [entry(row) for row in rows]


def in_order(connection: sqlite3.Connection, selection: Selection) -> Iterator[HistoryEntry]:
    """Yield a whole selection, oldest first, up to the row that is the newest now.

    Reads in pieces: one long read would let the WAL grow.
    """
    last_id = newest_id(connection)
    reached = 0
    while chunk := after(connection, selection, reached):
        for each in chunk:
            if each.id > last_id:
                return
            yield each
        reached = chunk[-1].id


def newest_id(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT ifnull(max(id), 0) FROM history").fetchone()[0])


def count(connection: sqlite3.Connection, selection: Selection) -> int:
    """Return the number of rows, for a progress bar."""
    where, values = selection.where
    found = connection.execute(f"SELECT count(*) FROM history h WHERE {where}", values)  # noqa: S608
    return int(found.fetchone()[0])


def entry(row: Iterable[Any]) -> HistoryEntry:
    """Return the entry for a row with the columns of COLUMNS."""
    values = dict(zip(HistoryEntry.__dataclass_fields__, row, strict=True))
    for name in ("details", "personal"):
        if values[name] is not None:
            values[name] = orjson.loads(values[name])
    return HistoryEntry(**values)
