"""Tests of erasing: what each step does to the tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.actors.conversation import Conversation
from storage import erasure, history, mailboxes, outbox, snapshots, verification
from storage.erasure import Amount, Scope
from storage.erasure_events import Erasure
from storage.history import Row
from storage.mailboxes import Accepted
from tests.support import command_writes
from tests.support.archive import Archive
from tests.support.channel_histories import TURNS, Turn, append, channels, replayed, row, state

ORDER = Erasure("order")

bounded = settings(deadline=None, max_examples=100, database=None)
ALL = 10**9


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with closing(Archive(tmp_path / "rosey-llm.db")) as archive:
        yield archive


def outcome(channel: str, request_id: str) -> bytes:
    return f"erased {channel} {request_id}".encode()


def erase(connection: sqlite3.Connection, scope: Scope, upto: int = ALL) -> int:
    """Erase step by step, as the engine does; return how many rows."""
    erased, reached = 0, 0
    for _ in range(1000):
        found = erasure.find(connection, scope, reached, upto)
        erased += erasure.blank(connection, [each for each, _ in found.rows], 7, outcome, ORDER)
        if found.reached is None:
            return erased
        assert found.reached > reached
        reached = found.reached
    raise AssertionError("it never comes to the end")


def left(archive: Archive) -> list[str]:
    return [content for _, content in archive.contents() if content]


def test_a_user_is_erased_whatever_the_case_of_the_name(archive: Archive) -> None:
    for user in ("Mallory", "MALLORY", "mallory2", "bob"):
        archive.say(f"I am {user}", "Hi.", user=user)
    archive.say("Straße", "Hi.", user="Jörg")
    assert erase(archive.connection, Scope(user="mallory")) == 4
    assert erase(archive.connection, Scope(user="JÖRG")) == 2
    assert left(archive) == ["I am mallory2", "Hi.", "I am bob", "Hi."]


def test_a_channel_is_erased_by_its_exact_name(archive: Archive) -> None:
    for channel in ("#a", "#A", "#b"):
        archive.say(f"in {channel}", "", channel=channel)
    assert erase(archive.connection, Scope(channel="#a")) == 2
    assert left(archive) == ["in #A", "in #b"]


def test_user_and_channel_and_time_narrow_it_down(archive: Archive) -> None:
    for user in ("ann", "bob"):
        for channel in ("#a", "#b"):
            for ts_ms in (1000, 2000):
                archive.say(
                    f"{user} {channel} {ts_ms}", "", user=user, channel=channel, ts_ms=ts_ms
                )
    scope = Scope("ann", "#b", 2000)
    assert erasure.amount(archive.connection, scope) == Amount(2, 1, 0)
    assert erase(archive.connection, scope) == 2
    assert "ann #b 1000" not in left(archive)
    assert len(left(archive)) == 7


def test_channels_that_are_named_as_exceptions_are_left_alone(archive: Archive) -> None:
    for channel in ("#a", "#b", "#c"):
        archive.say(f"in {channel}", "", channel=channel)
    assert erase(archive.connection, Scope(before_ms=1, but=("#a", "#c"))) == 2
    assert left(archive) == ["in #a", "in #c"]


def test_facts_and_digests_of_an_erased_row_stay(archive: Archive) -> None:
    archive.say("secret", "secret", model="llama3.2", latency_ms=800)
    rows = f"SELECT digest, {FACTS} FROM history WHERE kind <> 'erased'"  # noqa: S608
    before = archive.connection.execute(rows).fetchall()
    erase(archive.connection, Scope(channel="#lobby"))
    after = archive.connection.execute(rows).fetchall()
    assert after == before
    row = archive.connection.execute(
        "SELECT username, content, salt, length(private), erased_ms FROM history"
    ).fetchone()
    assert row == (None, "", None, 32, 7)


FACTS = "seq, ts_ms, kind, request_id, model, latency_ms"


def test_a_row_is_erased_once(archive: Archive) -> None:
    archive.say("secret")
    assert erase(archive.connection, Scope(channel="#lobby")) == 2
    private = archive.connection.execute("SELECT private, erased_ms FROM history").fetchall()
    assert erasure.blank(archive.connection, [1, 2], 8, outcome, ORDER) == 0
    assert (
        archive.connection.execute("SELECT private, erased_ms FROM history").fetchall() == private
    )


def test_rows_after_the_end_are_left_alone(archive: Archive) -> None:
    last_id = archive.say("before")
    archive.say("after", "")
    assert erase(archive.connection, Scope(channel="#lobby"), last_id) == 2
    assert left(archive) == ["after"]


@pytest.mark.slow
def test_a_long_history_is_erased_in_steps(archive: Archive) -> None:
    archive.connection.execute("BEGIN")
    for number in range(erasure.SLICE):
        archive.say("x", "y", user="mallory" if number % 10 == 0 else "bob")
    archive.connection.execute("COMMIT")
    first = erasure.find(archive.connection, Scope(user="mallory"), 0, ALL)
    assert len(first.rows) == erasure.BATCH
    assert erase(archive.connection, Scope(user="mallory")) == erasure.SLICE // 5
    verification.verify(archive.connection)


def settle(archive: Archive, user: str, request_id: str, text: str, channel: str = "#a") -> int:
    """Do a whole turn with its outcome; return the outbox row's id."""
    accepted = command_writes.put(archive.connection, channel, request_id, user, b"x", (), 0)
    assert isinstance(accepted, Accepted)
    rows = (Row("message", request_id, user, text), Row("answer", request_id, user, text))
    settled = command_writes.settle(
        archive.connection, accepted.id, channel, request_id, rows, "response", text.encode(), 0
    )
    assert settled is not None
    return settled.id


def test_a_request_sent_again_is_told_that_it_was_erased(archive: Archive) -> None:
    settle(archive, "mallory", "r1", "secret")
    settle(archive, "bob", "r2", "hello")
    erase(archive.connection, Scope(user="mallory"))
    erased = outbox.find_settled(archive.connection, "#a", "r1", ())
    kept = outbox.find_settled(archive.connection, "#a", "r2", ())
    assert erased is not None
    assert kept is not None
    assert (erased.kind, erased.body) == ("error", b"erased #a r1")
    assert (kept.kind, kept.body) == ("response", b"hello")


def test_an_outcome_stored_without_its_row_id_is_erased_too(archive: Archive) -> None:
    settle(archive, "mallory", "r1", "secret")
    archive.connection.execute("UPDATE outbox SET history_id = NULL")
    erase(archive.connection, Scope(user="mallory"))
    assert archive.connection.execute("SELECT body FROM outbox").fetchone()[0] == b"erased #a r1"


def test_another_turn_that_reuses_a_pruned_request_id_is_left_alone(archive: Archive) -> None:
    settle(archive, "mallory", "r1", "secret")
    archive.connection.execute("DELETE FROM outbox")
    settle(archive, "bob", "r1", "hello")
    erase(archive.connection, Scope(user="mallory"))
    assert archive.connection.execute("SELECT body FROM outbox").fetchone()[0] == b"hello"


def test_snapshots_of_the_channels_are_deleted_and_no_others(archive: Archive) -> None:
    for channel in ("#a", "#b"):
        settle(archive, "mallory" if channel == "#a" else "bob", "r1", "text", channel)
        snapshots.save(archive.connection, channel, 1, 0, b"{}")
    erase(archive.connection, Scope(user="mallory"))
    names = archive.connection.execute(
        "SELECT name FROM snapshot s JOIN channel c ON c.id = s.channel_id"
    ).fetchall()
    assert names == [("#b",)]


def test_waiting_commands_lose_their_text_and_keep_their_place(archive: Archive) -> None:
    for user, request_id in (("ann", "r1"), ("Mallory", "r2"), ("bob", "r3")):
        command_writes.put(
            archive.connection, "#a", request_id, user, b"text of " + user.encode(), (), 5
        )
    command_writes.put(archive.connection, "#a", "r4", "mallory", b"a later text", (), 10)
    assert erasure.amount(archive.connection, Scope(user="mallory")) == Amount(0, 0, 2)
    voided = erasure.erase_waiting(archive.connection, Scope(user="mallory", before_ms=10), b"gone")
    assert voided == [("#a", "r2")]
    found = [
        (row.request_id, row.username, row.body) for row in mailboxes.waiting(archive.connection)
    ]
    assert found == [
        ("r1", "ann", b"text of ann"),
        ("r2", "", b"gone"),
        ("r3", "bob", b"text of bob"),
        ("r4", "mallory", b"a later text"),
    ]


def test_remains_are_noted_until_the_files_are_cleaned(archive: Archive) -> None:
    archive.say("secret")
    archive.say("secret", channel="#b")
    assert erasure.remains(archive.connection) == 0
    erase(archive.connection, Scope(channel="#lobby"))
    noted = erasure.remains(archive.connection)
    erase(archive.connection, Scope(channel="#b"))
    erasure.note_cleaned(archive.connection, noted)
    assert erasure.remains(archive.connection) > 0
    erasure.note_cleaned(archive.connection, erasure.remains(archive.connection))
    assert erasure.remains(archive.connection) == 0


def test_users_with_similar_names_are_found(archive: Archive) -> None:
    archive.say("hello", user="Mallory")
    assert erasure.users_like(archive.connection, "mallroy") == ["Mallory"]
    assert erasure.knows_user(archive.connection, "mallory")
    assert not erasure.knows_user(archive.connection, "mallroy")


def test_a_scope_is_the_same_after_a_journey_as_json() -> None:
    for scope in (Scope(), Scope("ann", "#a", 5), Scope(before_ms=0, but=("#a", "#b"))):
        assert Scope.from_json(scope.to_json()) == scope
    with pytest.raises(TypeError):
        Scope.from_json({"planet": "Mars"})


@bounded
@given(st.lists(TURNS, max_size=30), st.sampled_from(["alice", "bob"]), st.integers(1, 12))
def test_the_messages_of_other_users_are_left(turns: list[Turn], user: str, window: int) -> None:
    """The conversation is as if the erased pairs had never been; resets and personas stay."""
    with channels("#a") as connection:
        append(connection, turns)
        erase(connection, Scope(user=user))
        verification.verify(connection)
        found = replayed(Conversation(window), history.tail(connection, 1, 0, window))
    left = [
        row("help") if each.username == user and each.kind in ("message", "answer") else each
        for turn in turns
        for each in turn
    ]
    assert state(found) == state(replayed(Conversation(window), left))
