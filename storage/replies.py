"""The reply subjects of requests: each gets the outcome in addition to the shared subjects.

A request that is sent again while it waits adds its own subject. The subjects of a request stay
until its outcome leaves the outbox.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import orjson

from storage.writer.bulk_statements import Insert, Values

LIMIT = 64
"""The most subjects of one request. Each costs a message, whoever asked for it."""

INSERT = Insert(
    "INSERT OR IGNORE INTO reply (channel_id, request_id, subject)",
    columns=3,
)
# As an expression for another statement: each row that is fetched takes the interpreter lock.
SUBJECTS = (
    "(SELECT json_group_array(subject) FROM (SELECT subject FROM reply"
    " WHERE reply.channel_id = {table}.channel_id AND reply.request_id = {table}.request_id"
    " ORDER BY rowid))"
)


def add(connection: sqlite3.Connection, rows: Sequence[Values]) -> None:
    """Store subjects as (channel id, request id, subject); known ones stay as they are."""
    for _ in INSERT.portions(connection, rows):
        pass


def rows_of(channel_id: int, request_id: str, subjects: Iterable[str]) -> list[Values]:
    return [(channel_id, request_id, subject) for subject in subjects]


def of_request(connection: sqlite3.Connection, channel_id: int, request_id: str) -> tuple[str, ...]:
    """Return the subjects of a request, in the order in which they were added."""
    found = connection.execute(
        "SELECT subject FROM reply WHERE channel_id = ? AND request_id = ? ORDER BY rowid",
        (channel_id, request_id),
    )
    return tuple(subject for (subject,) in found)


def delete(connection: sqlite3.Connection, requests: Sequence[tuple[int, str]]) -> None:
    """Delete the subjects of requests that have left the outbox."""
    connection.executemany("DELETE FROM reply WHERE channel_id = ? AND request_id = ?", requests)


def decoded(subjects: str) -> tuple[str, ...]:
    """Return subjects that were selected with SUBJECTS."""
    return tuple(orjson.loads(subjects)) if subjects != "[]" else ()
