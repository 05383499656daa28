"""Reply subjects: each request has its own, and no more than a limit."""

from __future__ import annotations

import sqlite3

from storage import outbox, replies
from storage.commands import Join
from storage.mailboxes import AlreadyWaiting
from storage.outbox import Settled
from tests.support import command_writes
from tests.support.mailbox_commands import accepted, answered, put, settle, settle_at_once


def stored(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT subject FROM reply ORDER BY rowid")]


def join(connection: sqlite3.Connection, *subjects: str) -> list[object]:
    copies = [Join("#lobby", "r1", (subject,)) for subject in subjects]
    return list(Join.apply_all(connection, copies))


def test_copies_are_joined_in_one_go(connection: sqlite3.Connection) -> None:
    row_id = accepted(connection, replies=("first",))
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    results = join(connection, *(f"copy.{number}" for number in range(50)))
    connection.set_trace_callback(None)
    assert results == [AlreadyWaiting()] * 50
    assert len(statements) < 6, statements  # not one for each copy
    settled = settle(connection, row_id)
    assert settled is not None
    assert settled.replies == ("first", *(f"copy.{number}" for number in range(50)))


def test_a_request_has_a_limit_of_subjects(connection: sqlite3.Connection) -> None:
    accepted(connection, replies=("first",))
    several = [f"copy.{number}" for number in range(replies.LIMIT - 1)]
    assert join(connection, *several) == [AlreadyWaiting()] * (replies.LIMIT - 1)
    assert join(connection, "one too many") == [AlreadyWaiting(is_full=True)]
    assert join(connection, "first", "copy.7") == [AlreadyWaiting()] * 2  # known already
    assert put(connection, replies=("another",)) == AlreadyWaiting(is_full=True)
    assert stored(connection) == ["first", *several]


def test_a_copy_of_a_settled_request_gets_its_outcome_alone(connection: sqlite3.Connection) -> None:
    answered(connection)
    one, other = join(connection, "a", "b")
    assert isinstance(one, Settled)
    assert isinstance(other, Settled)
    assert (one.body, one.replies, other.replies) == (b"Hi.", ("a",), ("b",))
    assert stored(connection) == []


def test_a_request_that_is_not_stored_is_not_joined(connection: sqlite3.Connection) -> None:
    assert join(connection, "a") == [None]


def test_an_outcome_that_was_not_published_keeps_its_subjects(
    connection: sqlite3.Connection,
) -> None:
    settle(connection, accepted(connection, replies=("a", "b")))
    (waiting,) = outbox.unpublished(connection)
    assert waiting.replies == ("a", "b")


def test_subjects_go_with_their_outcome(connection: sqlite3.Connection) -> None:
    settled = settle(connection, accepted(connection, replies=("a",)))
    assert settled is not None
    accepted(connection, "r2", replies=("b",))
    settle_at_once(connection, "r3", replies=("c",), now_ms=9000)
    command_writes.published(connection, [settled.id], 3000)
    assert outbox.prune(connection, 9000) == 1
    assert stored(connection) == ["b", "c"]


def test_one_request_id_in_two_channels_has_two_sets(connection: sqlite3.Connection) -> None:
    here = accepted(connection, "r1", "#here", replies=("here",))
    there = accepted(connection, "r1", "#there", replies=("there",))
    one, other = settle(connection, here, "r1", "#here"), settle(connection, there, "r1", "#there")
    assert one is not None
    assert other is not None
    assert (one.replies, other.replies) == (("here",), ("there",))
