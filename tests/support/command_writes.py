"""The writes of a command's life, one at a time, as functions of the connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from storage.commands import Accept, Attempt, MarkPublished, Settle, SettleAtOnce
from storage.history import Row
from storage.mailboxes import Acceptance
from storage.outbox import OutcomeKind, Settled


def put(
    connection: sqlite3.Connection,
    channel: str,
    request_id: str,
    username: str,
    body: bytes,
    replies: Sequence[str],
    now_ms: int,
    attempts: int = 0,
    personal: str | None = None,
) -> Acceptance:
    record = Accept(channel, request_id, username, body, replies, now_ms, attempts, personal)
    return Accept.apply_all(connection, [record])[0]


def take(connection: sqlite3.Connection, row_id: int) -> int:
    return Attempt.apply_all(connection, [Attempt(row_id)])[0]


def settle(
    connection: sqlite3.Connection,
    row_id: int,
    channel: str,
    request_id: str,
    rows: Sequence[Row],
    kind: OutcomeKind,
    body: bytes,
    now_ms: int,
) -> Settled | None:
    record = Settle(row_id, channel, request_id, rows, kind, body, now_ms)
    return Settle.apply_all(connection, [record])[0]


def settle_at_once(
    connection: sqlite3.Connection,
    channel: str,
    request_id: str,
    rows: Sequence[Row],
    kind: OutcomeKind,
    body: bytes,
    replies: Sequence[str],
    now_ms: int,
) -> Settled:
    record = SettleAtOnce(channel, request_id, rows, kind, body, replies, now_ms)
    return SettleAtOnce.apply_all(connection, [record])[0]


def published(connection: sqlite3.Connection, outbox_ids: Sequence[int], now_ms: int) -> None:
    MarkPublished.apply_all(connection, [MarkPublished(outbox_ids, now_ms)])
