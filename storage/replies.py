"""The reply subjects of requests: each gets the outcome in addition to the shared subjects.

A request that is sent again while it waits adds its own subject. The subjects of a request stay
until its outcome leaves the outbox.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Self

import orjson

from storage.writer.bulk_statements import Insert, Values

LIMIT = 64
"""The most subjects of one request. Each costs a message, whoever asked for it."""

INSERT = Insert(
    "INSERT OR IGNORE INTO reply (channel_id, request_id, subject, correlation_id)",
    columns=4,
)
# As an expression for another statement: each row that is fetched takes the interpreter lock.
SUBJECTS = (
    "(SELECT json_group_array(json_array(subject, correlation_id))"
    " FROM (SELECT subject, correlation_id FROM reply"
    " WHERE reply.channel_id = {table}.channel_id AND reply.request_id = {table}.request_id"
    " ORDER BY rowid))"
)
FIRST_CORRELATION = (
    "(SELECT correlation_id FROM reply WHERE reply.channel_id = {table}.channel_id"
    " AND reply.request_id = {table}.request_id ORDER BY rowid LIMIT 1)"
)


class ReplySubject(str):
    """A reply subject with the correlation id that its sender gave.

    The subject is "" for a sender that reads the shared subjects only.
    """

    __slots__ = ("correlation_id",)

    correlation_id: str

    def __new__(cls, subject: str, correlation_id: str) -> Self:
        made = super().__new__(cls, subject)
        made.correlation_id = correlation_id
        return made


def correlation_of(subject: str) -> str | None:
    """Return the correlation id that is given back on this reply subject."""
    return subject.correlation_id if isinstance(subject, ReplySubject) else None


def first_correlation(subjects: Sequence[str]) -> str | None:
    """Return the correlation id that is given back on the shared subjects."""
    return correlation_of(subjects[0]) if subjects else None


def add(connection: sqlite3.Connection, rows: Sequence[Values]) -> None:
    """Store rows of `rows_of`; known subjects stay as they are."""
    for _ in INSERT.portions(connection, rows):
        pass


def rows_of(channel_id: int, request_id: str, subjects: Iterable[str]) -> list[Values]:
    return [(channel_id, request_id, str(subject), correlation_of(subject)) for subject in subjects]


def of_request(connection: sqlite3.Connection, channel_id: int, request_id: str) -> tuple[str, ...]:
    """Return the subjects of a request, in the order in which they were added."""
    found = connection.execute(
        "SELECT subject, correlation_id FROM reply WHERE channel_id = ? AND request_id = ?"
        " ORDER BY rowid",
        (channel_id, request_id),
    )
    return of_pairs(found)


def delete(connection: sqlite3.Connection, requests: Sequence[tuple[int, str]]) -> None:
    """Delete the subjects of requests that have left the outbox."""
    connection.executemany("DELETE FROM reply WHERE channel_id = ? AND request_id = ?", requests)


def decoded(subjects: str) -> tuple[str, ...]:
    """Return subjects that were selected with SUBJECTS."""
    return of_pairs(orjson.loads(subjects)) if subjects != "[]" else ()


def of_pairs(pairs: Iterable[tuple[str, str | None]]) -> tuple[str, ...]:
    """Return subjects from pairs of subject and correlation id."""
    return tuple(
        subject if correlation_id is None else ReplySubject(subject, correlation_id)
        for subject, correlation_id in pairs
    )
