"""The outbox: committed outcomes, kept to be published, and sent again on request."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from storage import replies
from storage.writer.bulk_statements import ByIds, Insert, Values

if TYPE_CHECKING:
    from storage.commands import MarkPublished

MAX_ID = 2**63 - 1
OutcomeKind = Literal["response", "error"]
INSERT = Insert(
    "INSERT INTO outbox (channel_id, request_id, kind, replies, body, created_ms, history_id)",
    columns=7,
)
PUBLISH = ByIds("UPDATE outbox SET published_ms = ? WHERE published_ms IS NULL AND id IN {ids}")
NO_REPLIES = "[]"  # of a column that is used no more; `storage/replies.py` has the subjects
SUBJECTS = replies.SUBJECTS.format(table="o")

FIRST_CORRELATION = replies.FIRST_CORRELATION.format(table="o")


class Settled(NamedTuple):
    """A committed outcome; nothing else may be published.

    id: of its outbox row.
    upto: the id of its newest history row; 0 if it was read from the outbox.
    stops: the outcomes of the stops that ended the turn, from the same commit.
    drops: the outcomes of the waiting commands that a stop dropped, from the same commit; None for
        one that had another outcome already.
    correlation_id: that of the first sender, for the shared subjects.
    """

    id: int
    channel: str
    request_id: str
    kind: OutcomeKind
    body: bytes
    replies: tuple[str, ...]
    upto: int = 0
    stops: tuple[Settled, ...] = ()
    drops: tuple[Settled | None, ...] = ()
    correlation_id: str | None = None


def add(connection: sqlite3.Connection, rows: Sequence[Values]) -> range:
    """Store outcomes; return their ids.

    A row is (channel_id, request_id, kind, replies, body, created_ms, history_id).
    """
    return INSERT.ids(connection, rows)


def find_settled(
    connection: sqlite3.Connection, channel: str, request_id: str, subjects: Sequence[str]
) -> Settled | None:
    """Return the stored outcome of this request, for these subjects; None if there is none."""
    found = connection.execute(
        f"SELECT o.id, o.kind, o.body, {FIRST_CORRELATION} FROM outbox o"  # noqa: S608
        " JOIN channel c ON c.id = o.channel_id WHERE c.name = ? AND o.request_id = ?",
        (channel, request_id),
    ).fetchone()
    if found is None:
        return None
    row_id, kind, body, first = found
    return Settled(row_id, channel, request_id, kind, body, tuple(subjects), correlation_id=first)


def mark_published(connection: sqlite3.Connection, marks: Sequence[MarkPublished]) -> None:
    by_time: dict[int, list[int]] = {}
    for mark in marks:
        by_time.setdefault(mark.now_ms, []).extend(mark.outbox_ids)
    for now_ms, outbox_ids in by_time.items():
        PUBLISH.execute(connection, outbox_ids, (now_ms,))


def unpublished(connection: sqlite3.Connection) -> list[Settled]:
    """Return all outcomes that may not have been published, oldest first."""
    return [
        Settled(
            row_id,
            channel,
            request_id,
            kind,
            body,
            found := replies.decoded(subjects),
            correlation_id=replies.first_correlation(found),
        )
        for row_id, channel, request_id, kind, body, subjects in connection.execute(
            f"SELECT o.id, c.name, o.request_id, o.kind, o.body, {SUBJECTS} FROM outbox o"  # noqa: S608
            " JOIN channel c ON c.id = o.channel_id WHERE o.published_ms IS NULL ORDER BY o.id"
        )
    ]


def newest(connection: sqlite3.Connection) -> int:
    """Return the id of the newest outcome; 0 if there is none."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM outbox").fetchone()[0])


def prune(
    connection: sqlite3.Connection, before_ms: int, limit: int = 500, *, upto: int = MAX_ID
) -> int:
    """Delete at most `limit` published outcomes older than `before_ms`; return how many.

    upto: the newest id that may be deleted.

    The history keeps their time of publication.
    """
    gone = connection.execute(
        "DELETE FROM outbox WHERE created_ms < ? AND published_ms IS NOT NULL AND id <= ? AND id <"
        " (SELECT id + ? FROM outbox WHERE published_ms IS NOT NULL ORDER BY id LIMIT 1)"
        " RETURNING published_ms, history_id, channel_id, request_id",
        (before_ms, upto, limit),
    ).fetchall()
    connection.executemany(
        "UPDATE history SET published_ms = ? WHERE id = ?", [row[:2] for row in gone]
    )
    replies.delete(connection, [row[2:] for row in gone])
    return len(gone)
