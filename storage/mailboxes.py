"""The durable life of a command, from accepted to done.

state      on disk                              after a crash
accepted   mailbox row, attempts = 0            its turn starts, in the channel's order
attempted  mailbox row, attempts > 0; at once   its turn starts again; if it crashes again,
           if it does not have to wait          it ends with an error
settled    history rows and outbox row; the     the outbox row is published, the same bytes again
           same commit deletes the mailbox row
published  outbox row with published_ms         nothing; sent again, the command gets this outcome
done       the outbox row is deleted (pruned)   nothing; sent again, it is a new command

A command that never waits (a stop) is settled without being accepted, in one commit with the turn
that it ends and with the waiting commands that it drops. Before that commit, all of them are as if
it had never come; after it, all of them are settled.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from storage import channels, outbox, replies
from storage.outbox import Settled
from storage.writer.bulk_statements import Insert, Values

if TYPE_CHECKING:
    from storage.commands import Accept, Join

COLUMNS = "channel_id, request_id, username, personal, body, replies, attempts, accepted_ms"
# Skips commands that are waiting already or have an outcome.
INSERT = Insert(
    f"INSERT INTO mailbox ({COLUMNS}) WITH command ({COLUMNS}) AS (",
    columns=8,
    after=") SELECT * FROM command WHERE NOT EXISTS (SELECT 1 FROM outbox"
    " WHERE outbox.channel_id = command.channel_id AND outbox.request_id = command.request_id)"
    " ON CONFLICT DO NOTHING",
)

SUBJECTS = replies.SUBJECTS.format(table="m")


class Accepted(NamedTuple):
    """The command is in the mailbox, as row `id`."""

    id: int


@dataclass(frozen=True, slots=True)
class AlreadyWaiting:
    """The same request waits already; its outcome also goes to the new reply subjects.

    is_full: it has as many reply subjects as a request may have; the new ones were not added.
    """

    is_full: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """An accepted command, as found at start."""

    id: int
    channel: str
    request_id: str
    username: str
    personal: str | None
    body: bytes
    replies: tuple[str, ...]
    accepted_ms: int
    attempts: int = 0


Acceptance = Accepted | AlreadyWaiting | Settled


def put_all(connection: sqlite3.Connection, commands: Sequence[Accept]) -> list[Acceptance]:
    """Accept commands, except those whose request waits already or has an outcome."""
    acceptances: list[Acceptance] = []
    rows: list[Values] = [
        (
            channels.find_or_make(connection, command.channel, command.now_ms),
            command.request_id,
            command.username,
            command.personal,
            command.body,
            outbox.NO_REPLIES,
            command.attempts,
            command.now_ms,
        )
        for command in commands
    ]
    for portion, done in INSERT.portions(connection, rows):
        last_id, count = int(done.lastrowid or 0), done.rowcount
        if count == len(portion):
            acceptances += [Accepted(row_id) for row_id in range(last_id - count + 1, last_id + 1)]
            continue
        new = _newest(connection, last_id - count) if count else {}
        for number in portion:
            row_id = new.pop(rows[number][:2], None)
            acceptances.append(Accepted(row_id) if row_id else AlreadyWaiting())
    _add_replies(connection, commands, rows, acceptances)
    if len(known := set(map(type, acceptances))) == 1 and Accepted in known:
        return acceptances
    return [
        each if isinstance(each, Accepted) else _join(connection, command)
        for each, command in zip(acceptances, commands, strict=True)
    ]


def _add_replies(
    connection: sqlite3.Connection,
    commands: Sequence[Accept],
    rows: Sequence[Values],
    acceptances: Sequence[Acceptance],
) -> None:
    """Store the reply subjects of the commands that were accepted."""
    subjects: list[Values] = [
        (row[0], row[1], str(subject), replies.correlation_of(subject))
        for command, row, acceptance in zip(commands, rows, acceptances, strict=True)
        if command.replies and isinstance(acceptance, Accepted)
        for subject in command.replies
    ]
    if subjects:
        replies.add(connection, subjects)


def _newest(connection: sqlite3.Connection, after_id: int) -> dict[Values, int]:
    """Return the ids of the rows after that id, by channel id and request id."""
    found = connection.execute(
        "SELECT channel_id, request_id, id FROM mailbox WHERE id > ?", (after_id,)
    )
    return {(channel_id, request_id): row_id for channel_id, request_id, row_id in found}


def _join(connection: sqlite3.Connection, command: Accept) -> AlreadyWaiting | Settled:
    known = _joined(connection, command.channel, command.request_id, command.replies)
    if known is None:
        raise sqlite3.IntegrityError("the command was neither accepted nor known")
    return known


def join_all(
    connection: sqlite3.Connection, copies: Sequence[Join]
) -> list[AlreadyWaiting | Settled | None]:
    """Send the outcomes of stored requests, which are sent again, to the new reply subjects too.

    The result is None for a request that is not stored; it is not accepted then. The copies of one
    request are joined in one go.
    """
    by_request: dict[tuple[str, str], dict[str, None]] = {}
    for copy in copies:
        subjects = by_request.setdefault((copy.channel, copy.request_id), {})
        subjects.update(dict.fromkeys(copy.replies))
    found = {
        (channel, request_id): _joined(connection, channel, request_id, tuple(subjects))
        for (channel, request_id), subjects in by_request.items()
    }
    return [_for_copy(found[copy.channel, copy.request_id], copy) for copy in copies]


def _for_copy(
    known: AlreadyWaiting | Settled | None, copy: Join
) -> AlreadyWaiting | Settled | None:
    """Return an outcome addressed to this copy alone: each copy publishes it by itself."""
    return known._replace(replies=tuple(copy.replies)) if isinstance(known, Settled) else known


def _joined(
    connection: sqlite3.Connection, channel: str, request_id: str, subjects: Sequence[str]
) -> AlreadyWaiting | Settled | None:
    """Add subjects to a waiting request, or return its outcome; None if it is not stored."""
    if settled := outbox.find_settled(connection, channel, request_id, subjects):
        return settled
    waiting = connection.execute(
        "SELECT m.channel_id FROM mailbox m JOIN channel c ON c.id = m.channel_id"
        " WHERE c.name = ? AND m.request_id = ?",
        (channel, request_id),
    ).fetchone()
    if waiting is None:
        return None
    if not subjects:
        return AlreadyWaiting()
    known = replies.of_request(connection, waiting[0], request_id)
    new = [subject for subject in subjects if subject not in known]
    room = replies.LIMIT - len(known)
    if new[:room]:
        replies.add(connection, replies.rows_of(waiting[0], request_id, new[:room]))
    return AlreadyWaiting(is_full=len(new) > room)


def take(connection: sqlite3.Connection, row_id: int) -> int:
    """Count an attempt before the provider is called; return the number; 0 if there is no row."""
    found = connection.execute(
        "UPDATE mailbox SET attempts = attempts + 1 WHERE id = ? RETURNING attempts", (row_id,)
    ).fetchone()
    return int(found[0]) if found else 0


def waiting(connection: sqlite3.Connection) -> list[Waiting]:
    """Return all accepted commands, oldest first, to continue after a restart."""
    rows = connection.execute(
        "SELECT m.id, c.name, m.request_id, m.username, m.personal, m.body,"  # noqa: S608
        f" {SUBJECTS}, m.accepted_ms, m.attempts"
        " FROM mailbox m JOIN channel c ON c.id = m.channel_id ORDER BY m.id"
    )
    return [
        Waiting(id_, channel, request_id, name, personal, body, replies.decoded(subjects), *rest)
        for id_, channel, request_id, name, personal, body, subjects, *rest in rows
    ]
