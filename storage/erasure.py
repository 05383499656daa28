"""Erases messages in the database: text and user go, the fact that there was a message stays.

An erased row of the history keeps its place, its facts and the digest of its text
(`storage/hash_chain.py`), and loses user, content, personal facts and salt. The same commit deletes
the other copies of the text (the body of the outcome in the outbox, and the snapshot of the
channel), and appends the event of the erasure (`storage/erasure_events.py`).

A waiting command is replaced with one that says that it was erased. It keeps its place in the
channel's order and gets an outcome like any other.
"""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from storage import erasure_events, hash_chain, usage
from storage.erasure_events import Erasure
from storage.queries import row_times

# A step reads SLICE rows and erases BATCH at most, so that no live turn waits long for it.
SLICE = 5000
BATCH = 200
SET_ERASED = (
    "erased_ms = ?, username = NULL, content = '', personal = NULL, salt = NULL, private = ?"
)
USER_ID = "json_extract({table}.personal, '$.user_id')"
OutcomeOf = Callable[[str, str], bytes]


@dataclass(frozen=True, slots=True)
class Scope:
    """What to erase; a field that is None matches everything.

    user: a name, compared without regard to case.
    user_id: the platform's id of a user, compared exactly.
    channel: an exact name.
    before_ms: erase older rows only, in ms since 1970.
    but: channels that are left alone.
    """

    user: str | None = None
    channel: str | None = None
    before_ms: int | None = None
    but: tuple[str, ...] = ()
    user_id: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value not in (None, ())}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Scope:
        """Raise TypeError if these are not the fields of a scope."""
        return cls(**{**values, "but": tuple(values.get("but", ()))})


@dataclass(frozen=True, slots=True)
class ErasableRows:
    """The rows that one step erases, as (id, content), and the names of their channels.

    reached: the id after which the next step continues; None after the last row.
    """

    rows: list[tuple[int, str]]
    channels: frozenset[str]
    reached: int | None


@dataclass(frozen=True, slots=True)
class Amount:
    """How much would be erased: rows of the history, their channels, and waiting commands."""

    rows: int
    channels: int
    waiting: int


def fold(name: str) -> str:
    """Return a user's name in the form that is compared: case-folded."""
    return name.casefold()


def newest(connection: sqlite3.Connection) -> int:
    """Return the id of the newest row; 0 if there is none."""
    row = connection.execute("SELECT max(id) FROM history").fetchone()
    return int(row[0] or 0)


def find(connection: sqlite3.Connection, scope: Scope, after_id: int, upto: int) -> ErasableRows:
    """Return the next rows to erase, with ids greater than `after_id` and up to `upto`."""
    _register_fold(connection)
    end = _end_of_slice(connection, scope, after_id, upto)
    if end is None:
        return ErasableRows([], frozenset(), None)
    where, values = _condition(scope)
    rows = connection.execute(
        "SELECT h.id, h.content, c.name FROM history h JOIN channel c ON c.id = h.channel_id"  # noqa: S608
        f" WHERE h.id > ? AND h.id <= ? AND h.erased_ms IS NULL{where} ORDER BY h.id LIMIT ?",
        (after_id, end, *values, BATCH),
    ).fetchall()
    reached = rows[-1][0] if len(rows) == BATCH else end
    return ErasableRows(
        [(row_id, content) for row_id, content, _ in rows],
        frozenset(name for *_, name in rows),
        reached,
    )


def blank(
    connection: sqlite3.Connection,
    row_ids: Iterable[int],
    now_ms: int,
    outcome_of: OutcomeOf,
    why: Erasure,
) -> int:
    """Erase these rows, and their text in outbox and snapshots; return how many are newly erased.

    outcome_of: takes a channel and a request id; returns the body of the error that a request gets
        if it is sent again.
    """
    erased: list[int] = []
    channel_ids: set[int] = set()
    for row_id in row_ids:
        row = connection.execute(
            "SELECT h.salt, h.username, h.content, h.personal, h.channel_id, c.name, h.request_id"
            " FROM history h JOIN channel c ON c.id = h.channel_id"
            " WHERE h.id = ? AND h.erased_ms IS NULL",
            (row_id,),
        ).fetchone()
        if row is None:
            continue
        *private_facts, channel_id, channel, request_id = row
        private = hash_chain.of_private(*private_facts)
        connection.execute(
            f"UPDATE history SET {SET_ERASED} WHERE id = ?",  # noqa: S608
            (now_ms, private, row_id),
        )
        # Once the outbox has pruned a request, its id may be used again, for another turn.
        connection.execute(
            "UPDATE outbox SET kind = 'error', body = ? WHERE channel_id = ? AND request_id = ?"
            " AND (history_id = ? OR history_id IS NULL)",
            (outcome_of(channel, request_id), channel_id, request_id, row_id),
        )
        channel_ids.add(channel_id)
        erased.append(row_id)
    connection.executemany(
        "DELETE FROM snapshot WHERE channel_id = ?", [(each,) for each in channel_ids]
    )
    if erased:
        erasure_events.append(connection, why, sorted(erased), now_ms)
        note_remains(connection)
    return len(erased)


def forget_usage(connection: sqlite3.Connection, scope: Scope, row_ids: Iterable[int]) -> None:
    """Delete the sums of the ids in these rows, if a user is erased everywhere by a name.

    Call it before `blank`, in the same commit.
    """
    if scope.user is None or not _usage_scopes(scope):
        return
    ids: set[str | None] = set()
    for row_id in row_ids:
        query = f"SELECT {USER_ID.format(table='history')} FROM history WHERE id = ?"  # noqa: S608
        ids.update(connection.execute(query, (row_id,)).fetchone() or ())
    usage.forget(connection, [f"u:id {each}" for each in ids if each is not None])


def erase_waiting(
    connection: sqlite3.Connection, scope: Scope, body: bytes
) -> list[tuple[str, str]]:
    """Replace waiting commands with `body`; return their (channel, request id).

    Also delete the sums of what a user used, if the user is erased everywhere.
    """
    found = _waiting(connection, scope)
    connection.executemany(
        "UPDATE mailbox SET username = '', personal = NULL, body = ? WHERE id = ?",
        [(body, row_id) for row_id, _, _ in found],
    )
    if usage.forget(connection, _usage_scopes(scope)) or found:
        note_remains(connection)
    return [(channel, request_id) for _, channel, request_id in found]


def amount(connection: sqlite3.Connection, scope: Scope) -> Amount:
    """Count what would be erased. Reads the whole history if the scope has no channel."""
    _register_fold(connection)
    where, values = _condition(scope)
    rows, channels = connection.execute(
        "SELECT count(*), count(DISTINCT h.channel_id) FROM history h"  # noqa: S608
        f" JOIN channel c ON c.id = h.channel_id WHERE h.erased_ms IS NULL{where}",
        values,
    ).fetchone()
    return Amount(rows, channels, len(_waiting(connection, scope)))


def knows_user(connection: sqlite3.Connection, name: str) -> bool:
    """Return whether anything of this user is stored: a row, a waiting command, or its usage."""
    _register_fold(connection)
    row = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM history WHERE username IS NOT NULL AND fold(username) = ?)"
        " OR EXISTS (SELECT 1 FROM mailbox WHERE fold(username) = ?)"
        " OR EXISTS (SELECT 1 FROM usage WHERE scope = ?)",
        (fold(name), fold(name), *_usage_scopes(Scope(user=name))),
    ).fetchone()
    return bool(row[0])


def knows_user_id(connection: sqlite3.Connection, user_id: str) -> bool:
    """Return whether anything of the user with this id is stored."""
    found = [
        f"EXISTS (SELECT 1 FROM {table} WHERE personal IS NOT NULL"  # noqa: S608
        f" AND {USER_ID.format(table=table)} = ?)"
        for table in ("history", "mailbox")
    ]
    found.append("EXISTS (SELECT 1 FROM usage WHERE scope = ?)")
    row = connection.execute(
        f"SELECT {' OR '.join(found)}",
        (user_id, user_id, *_usage_scopes(Scope(user_id=user_id))),
    ).fetchone()
    return bool(row[0])


def without_id(connection: sqlite3.Connection, user_id: str, limit: int = 5) -> dict[str, int]:
    """Return the names that the user with this id had, and the rows under them without any id."""
    _register_fold(connection)
    own_id = USER_ID.format(table="history")
    rows = connection.execute(
        f"SELECT min(username), count(*) FROM history WHERE {own_id} IS NULL"  # noqa: S608
        " AND fold(username) IN (SELECT fold(username) FROM history WHERE personal IS NOT NULL"
        f" AND {own_id} = ?) GROUP BY fold(username) LIMIT ?",
        (user_id, limit),
    )
    return dict(rows.fetchall())


def users_like(connection: sqlite3.Connection, name: str, limit: int = 3) -> list[str]:
    """Return users with a similar name, the most similar first."""
    rows = connection.execute("SELECT DISTINCT username FROM history WHERE username IS NOT NULL")
    by_folded = {fold(row[0]): str(row[0]) for row in rows}
    close = difflib.get_close_matches(fold(name), by_folded, n=limit)
    return [by_folded[each] for each in close]


def _end_of_slice(
    connection: sqlite3.Connection, scope: Scope, after_id: int, upto: int
) -> int | None:
    """Return the last id of the next SLICE rows, to be erased or not; None after the last row."""
    channel, values = "", list[str]()
    if scope.channel is not None:
        channel = "channel_id = (SELECT id FROM channel WHERE name = ?) AND "
        values = [scope.channel]
    row = connection.execute(
        "SELECT max(id) FROM (SELECT id FROM history"  # noqa: S608
        f" WHERE {channel}id > ? AND id <= ? ORDER BY id LIMIT ?)",
        (*values, after_id, upto, SLICE),
    ).fetchone()
    return None if row[0] is None else int(row[0])


def _condition(scope: Scope) -> tuple[str, list[str | int]]:
    """Return a condition on `history h` and `channel c`, and its parameters."""
    # An event of an erasure has no text, and must stay as it is.
    where, values = f" AND h.kind <> '{erasure_events.KIND}'", list[str | int]()
    if scope.channel is not None:
        where += " AND h.channel_id = (SELECT id FROM channel WHERE name = ?)"
        values.append(scope.channel)
    if scope.but:
        where += f" AND c.name NOT IN ({', '.join('?' * len(scope.but))})"
        values += scope.but
    if scope.before_ms is not None:
        # A message and its answer are erased together, once the answer is old enough.
        where += f" AND h.ts_ms < ? AND {row_times.outcome_ms()} < ?"
        values += [scope.before_ms, scope.before_ms]
    if scope.user is not None:
        where += " AND h.username IS NOT NULL AND fold(h.username) = ?"
        values.append(fold(scope.user))
    if scope.user_id is not None:
        where += f" AND {USER_ID.format(table='h')} = ?"
        values.append(scope.user_id)
    return where, values


def _waiting(connection: sqlite3.Connection, scope: Scope) -> list[tuple[int, str, str]]:
    return [
        (row_id, channel, request_id)
        for row_id, channel, request_id, username, user_id, accepted_ms in connection.execute(
            "SELECT m.id, c.name, m.request_id, m.username,"  # noqa: S608
            f" {USER_ID.format(table='m')}, m.accepted_ms FROM mailbox m"
            " JOIN channel c ON c.id = m.channel_id ORDER BY m.id"
        )
        if scope.channel in (None, channel)
        and channel not in scope.but
        and (scope.user is None or fold(username) == fold(scope.user))
        and scope.user_id in (None, user_id)
        and (scope.before_ms is None or accepted_ms < scope.before_ms)
    ]


def _usage_scopes(scope: Scope) -> list[str]:
    """Return the scopes of `storage/usage.py` that name the user; none if only a part is erased."""
    if scope.channel is not None or scope.before_ms is not None or scope.but:
        return []
    by_name = [f"u:name {fold(scope.user)}"] if scope.user is not None else []
    return by_name + ([f"u:id {scope.user_id}"] if scope.user_id is not None else [])


def _register_fold(connection: sqlite3.Connection) -> None:
    connection.create_function("fold", 1, fold, deterministic=True)


def note_remains(connection: sqlite3.Connection) -> None:
    """Note that from this commit on, erased bytes may be left in the files."""
    connection.execute(f"PRAGMA user_version = {remains(connection) + 1}")


def remains(connection: sqlite3.Connection) -> int:
    """Count erasing commits since the files were cleaned, also before a restart."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def note_cleaned(connection: sqlite3.Connection, noted: int) -> None:
    """Note that the files are clean, unless `remains` has grown since it was `noted`."""
    if remains(connection) == noted:
        connection.execute("PRAGMA user_version = 0")
