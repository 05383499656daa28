"""The durable life of a command, from accepted to done.

state      on disk                              after a crash
accepted   mailbox row, attempts = 0            its turn starts, in the channel's order
attempted  mailbox row, attempts > 0; at once   its turn starts once more, then ends as an error
           where it need not wait
settled    history rows and outbox row; the     the outbox row is published, the same bytes again
           mailbox row went in the same commit
published  outbox row with published_ms         nothing; sent again, the command gets this outcome
done       the outbox row is gone (pruned)      nothing; the command would be a new one

A command that never waits (a stop) is settled without having been accepted.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from storage import history
from storage.history import Row

OutcomeKind = Literal["response", "error"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The command stands in the mailbox, under `id`."""

    id: int


@dataclass(frozen=True, slots=True)
class AlreadyWaiting:
    """The same request waits already; its outcome will go to this one's reply subjects too."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A committed outcome: the only thing that may be published. `id` is its outbox row."""

    id: int
    channel: str
    request_id: str
    kind: OutcomeKind
    body: bytes
    replies: tuple[str, ...]
    upto: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """An accepted command as it is found at start."""

    id: int
    channel: str
    request_id: str
    username: str
    body: bytes
    replies: tuple[str, ...]
    accepted_ms: int


def put(
    connection: sqlite3.Connection,
    channel: str,
    request_id: str,
    username: str,
    body: bytes,
    replies: Sequence[str],
    now_ms: int,
    attempts: int = 0,
) -> Accepted | AlreadyWaiting | Settled:
    """Accept a command, unless the same request is waiting or has been answered.

    `attempts` is 1 where its turn starts as soon as it is accepted: that saves `take` a commit.
    """
    if known := join(connection, channel, request_id, replies):
        return known
    channel_id = _channel_id(connection, channel, now_ms)
    row_id = connection.execute(
        "INSERT INTO mailbox (channel_id, request_id, username, body, replies, attempts,"
        " accepted_ms) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (channel_id, request_id, username, body, json.dumps(list(replies)), attempts, now_ms),
    ).fetchone()[0]
    return Accepted(row_id)


def join(
    connection: sqlite3.Connection, channel: str, request_id: str, replies: Sequence[str]
) -> AlreadyWaiting | Settled | None:
    """Let a request that is sent again hear of the first one's outcome, too.

    None where there is no first one on disk; nothing is accepted by this.
    """
    if settled := find_settled(connection, channel, request_id, replies):
        return settled
    waiting = connection.execute(
        "SELECT m.id, m.replies FROM mailbox m JOIN channel c ON c.id = m.channel_id"
        " WHERE c.name = ? AND m.request_id = ?",
        (channel, request_id),
    ).fetchone()
    if waiting is None:
        return None
    merged = list(dict.fromkeys([*json.loads(waiting[1]), *replies]))
    connection.execute(
        "UPDATE mailbox SET replies = ? WHERE id = ?", (json.dumps(merged), waiting[0])
    )
    return AlreadyWaiting()


def take(connection: sqlite3.Connection, row_id: int) -> int:
    """Count one more attempt, before the provider is called; how many there have been now."""
    found = connection.execute(
        "UPDATE mailbox SET attempts = attempts + 1 WHERE id = ? RETURNING attempts", (row_id,)
    ).fetchone()
    return int(found[0]) if found else 0


def settle(
    connection: sqlite3.Connection,
    row_id: int,
    channel: str,
    request_id: str,
    rows: Iterable[Row],
    kind: OutcomeKind,
    body: bytes,
    now_ms: int,
) -> Settled | None:
    """Keep a turn and its outcome, and end its waiting, all in one commit.

    None where the command no longer waits: somebody else has settled it, and this result is void.
    """
    # Ids come again once the table is empty; an id with its channel and request does not, while the
    # outbox remembers the request.
    gone = connection.execute(
        "DELETE FROM mailbox WHERE id = ? AND request_id = ? AND channel_id ="
        " (SELECT id FROM channel WHERE name = ?) RETURNING channel_id, replies, accepted_ms",
        (row_id, request_id, channel),
    ).fetchone()
    if gone is None:
        return None
    channel_id, replies, accepted_ms = gone
    upto = history.append(connection, channel_id, now_ms, rows, accepted_ms)
    return _to_outbox(
        connection, channel_id, channel, request_id, kind, body, replies, now_ms, upto
    )


def settle_at_once(
    connection: sqlite3.Connection,
    channel: str,
    request_id: str,
    rows: Iterable[Row],
    kind: OutcomeKind,
    body: bytes,
    replies: Sequence[str],
    now_ms: int,
) -> Settled:
    """Settle a command that never waited; sent again, it gets the first outcome.

    A request has one outcome: where another command waits under the same request id, this is its
    outcome too, and goes to its reply subjects as well.
    """
    if settled := find_settled(connection, channel, request_id, replies):
        return settled
    channel_id = _channel_id(connection, channel, now_ms)
    gone = connection.execute(
        "DELETE FROM mailbox WHERE channel_id = ? AND request_id = ? RETURNING replies",
        (channel_id, request_id),
    ).fetchone()
    merged = list(dict.fromkeys([*(json.loads(gone[0]) if gone else []), *replies]))
    upto = history.append(connection, channel_id, now_ms, rows, now_ms)
    return _to_outbox(
        connection,
        channel_id,
        channel,
        request_id,
        kind,
        body,
        json.dumps(merged),
        now_ms,
        upto,
    )


def find_settled(
    connection: sqlite3.Connection, channel: str, request_id: str, replies: Sequence[str]
) -> Settled | None:
    """The outcome that this request has had already, to be sent to `replies` now."""
    found = connection.execute(
        "SELECT o.id, o.kind, o.body FROM outbox o JOIN channel c ON c.id = o.channel_id"
        " WHERE c.name = ? AND o.request_id = ?",
        (channel, request_id),
    ).fetchone()
    if found is None:
        return None
    row_id, kind, body = found
    return Settled(row_id, channel, request_id, kind, body, tuple(replies))


def published(connection: sqlite3.Connection, outbox_ids: Iterable[int], now_ms: int) -> None:
    """Note that these outcomes have been taken by whoever carries them."""
    connection.executemany(
        "UPDATE outbox SET published_ms = ? WHERE id = ? AND published_ms IS NULL",
        [(now_ms, outbox_id) for outbox_id in outbox_ids],
    )


def prune(connection: sqlite3.Connection, before_ms: int, limit: int = 500) -> int:
    """Forget published outcomes older than `before_ms`, at most `limit` of them; how many.

    When they were published is kept in the history.
    """
    gone = connection.execute(
        "DELETE FROM outbox WHERE created_ms < ? AND published_ms IS NOT NULL AND id <"
        " (SELECT id + ? FROM outbox WHERE published_ms IS NOT NULL ORDER BY id LIMIT 1)"
        " RETURNING published_ms, history_id",
        (before_ms, limit),
    ).fetchall()
    connection.executemany("UPDATE history SET published_ms = ? WHERE id = ?", gone)
    return len(gone)


def waiting(connection: sqlite3.Connection) -> list[Waiting]:
    """All accepted commands, oldest first: what goes on after a restart."""
    return [
        Waiting(row_id, channel, request_id, username, body, tuple(json.loads(replies)), accepted)
        for row_id, channel, request_id, username, body, replies, accepted in connection.execute(
            "SELECT m.id, c.name, m.request_id, m.username, m.body, m.replies, m.accepted_ms"
            " FROM mailbox m JOIN channel c ON c.id = m.channel_id ORDER BY m.id"
        )
    ]


def unpublished(connection: sqlite3.Connection) -> list[Settled]:
    """All outcomes that were committed and may not have been published, oldest first."""
    return [
        Settled(row_id, channel, request_id, kind, body, tuple(json.loads(replies)))
        for row_id, channel, request_id, kind, body, replies in connection.execute(
            "SELECT o.id, c.name, o.request_id, o.kind, o.body, o.replies FROM outbox o"
            " JOIN channel c ON c.id = o.channel_id WHERE o.published_ms IS NULL ORDER BY o.id"
        )
    ]


def _channel_id(connection: sqlite3.Connection, name: str, now_ms: int) -> int:
    found = connection.execute("SELECT id FROM channel WHERE name = ?", (name,)).fetchone()
    if found:
        return int(found[0])
    found = connection.execute(
        "INSERT INTO channel (name, created_ms) VALUES (?, ?) RETURNING id", (name, now_ms)
    ).fetchone()
    return int(found[0])


def _to_outbox(
    connection: sqlite3.Connection,
    channel_id: int,
    channel: str,
    request_id: str,
    kind: OutcomeKind,
    body: bytes,
    replies: str,
    now_ms: int,
    upto: int,
) -> Settled:
    row_id = connection.execute(
        "INSERT INTO outbox (channel_id, request_id, kind, replies, body, created_ms, history_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (channel_id, request_id, kind, replies, body, now_ms, upto),
    ).fetchone()[0]
    return Settled(row_id, channel, request_id, kind, body, tuple(json.loads(replies)), upto)
