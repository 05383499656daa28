"""Tests of the platform's ids of users in the history: kept, found, erased, and verified."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from storage import erasure, verification
from storage.erasure import Amount, Scope
from storage.history import Row
from storage.queries import entries
from storage.queries.reader import open_reader
from storage.queries.selection import Selection
from tests.support import command_writes
from tests.support.archive import Archive
from tests.support.tampering import broken, change, erase


def personal(user_id: str) -> str:
    return f'{{"user_id":"{user_id}"}}'


def say(archive: Archive, user: str, user_id: str, text: str) -> None:
    rows = [
        Row(kind, text, user, text, personal=personal(user_id)) for kind in ("message", "answer")
    ]
    archive.add(rows)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """U1 has two names; another user had one of them before there were ids."""
    with closing(Archive(tmp_path / "rosey-llm.db")) as archive:
        archive.say("before", user="alice")
        say(archive, "alice", "U1", "one")
        say(archive, "bob", "U2", "two")
        say(archive, "alice_away", "U1", "three")
        yield archive


def left(archive: Archive) -> set[str]:
    return {content for _, content in archive.contents() if content}


def test_a_user_is_erased_by_id_under_every_name(archive: Archive) -> None:
    scope = Scope(user_id="U1")
    assert erasure.amount(archive.connection, scope) == Amount(4, 1, 0)
    assert Scope.from_json(scope.to_json()) == scope
    erase(archive, scope)
    assert left(archive) == {"before", "Well.", "two"}
    assert archive.connection.execute(
        "SELECT DISTINCT personal FROM history WHERE personal IS NOT NULL"
    ).fetchall() == [(personal("U2"),)]
    with closing(open_reader(archive.path)) as connection:
        assert verification.verify(connection).erased == 4


def test_name_and_id_narrow_each_other_down(archive: Archive) -> None:
    erase(archive, Scope(user="alice", user_id="U1"))
    assert left(archive) == {"before", "Well.", "two", "three"}


def test_what_is_left_of_the_facts_of_an_erased_row_is_found(archive: Archive) -> None:
    erase(archive, Scope(user_id="U1"))
    change(archive, "UPDATE history SET personal = ? WHERE id = 3", personal("U1"))
    assert broken(archive).problem == "It is marked as erased, but has personal facts."


def test_an_id_that_is_added_later_is_found(archive: Archive) -> None:
    change(archive, "UPDATE history SET personal = ? WHERE id = 1", personal("U1"))
    assert broken(archive).row_id == 1


def test_rows_are_selected_by_id(archive: Archive) -> None:
    with closing(open_reader(archive.path)) as connection:
        found = entries.newest(connection, Selection(user_id="U1"), 10)
    assert [(each.username, each.user_id) for each in found] == [
        ("alice", "U1"), ("alice", "U1"), ("alice_away", "U1"), ("alice_away", "U1"),
    ]  # fmt: skip


def test_a_waiting_command_is_erased_by_id(archive: Archive) -> None:
    for number, user_id in enumerate(("U1", "U2")):
        command_writes.put(
            archive.connection,
            "#lobby",
            f"w{number}",
            "alice",
            b"text",
            (),
            7,
            personal=personal(user_id),
        )
    erased = erasure.erase_waiting(archive.connection, Scope(user_id="U1"), b"erased")
    assert erased == [("#lobby", "w0")]
    kept = archive.connection.execute(
        "SELECT username, personal, body FROM mailbox ORDER BY id"
    ).fetchall()
    assert kept == [("", None, b"erased"), ("alice", personal("U2"), b"text")]


@pytest.mark.parametrize(("user_id", "known"), [("U1", True), ("u1", False), ("waits", True)])
def test_an_id_is_known_in_the_history_and_while_it_waits(
    archive: Archive, user_id: str, known: bool
) -> None:
    command_writes.put(
        archive.connection, "#lobby", "w", "alice", b"text", (), 7, personal=personal("waits")
    )
    assert erasure.knows_user_id(archive.connection, user_id) is known


def test_rows_without_an_id_under_the_names_of_a_user_are_counted(archive: Archive) -> None:
    archive.say("long before", user="ALICE_AWAY")
    assert erasure.without_id(archive.connection, "U1") == {"alice": 2, "ALICE_AWAY": 2}
    assert erasure.without_id(archive.connection, "U2") == {}
