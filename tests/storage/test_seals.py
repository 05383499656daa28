"""Tests of `verify` with a seal, on erased rows, on one channel, and on any history."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import hash_chain, history, verification
from storage.erasure import Scope
from storage.history import Row
from storage.queries.reader import open_reader
from storage.verification import Seal, TamperedRow
from tests.support.archive import Archive
from tests.support.channel_histories import HISTORIES, Turn, channels
from tests.support.tampering import (
    COLUMNS,
    broken,
    change,
    erase,
    nine_rows,
    proved,
)

bounded = settings(deadline=None, max_examples=100, database=None)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with nine_rows(tmp_path / "rosey-llm.db") as archive:
        yield archive


def test_erased_rows_keep_the_chain_and_the_seal(archive: Archive) -> None:
    before = proved(archive)
    erase(archive, Scope(user="USER OF #A"))
    found = proved(archive, before.seal)
    assert (found.rows, found.channels, found.erased) == (10, 2, 4)  # one row is the event
    archive.say("three", channel="#a")
    assert proved(archive, before.seal).rows == 12


@pytest.mark.parametrize(
    "tampering",
    [
        "content = 'I never said that.'",
        "username = 'mallory'",
        "salt = x'00'",
        "private = NULL",
        "private = x'00'",
        "erased_ms = NULL",
        "kind = 'completion'",
        "ts_ms = 1",
    ],
)
def test_an_erased_row_that_was_changed_is_found(archive: Archive, tampering: str) -> None:
    erase(archive, Scope(channel="#b"))
    change(archive, f"UPDATE history SET {tampering} WHERE id = 4")  # noqa: S608
    assert broken(archive).row_id == 4


@pytest.mark.parametrize(
    "tampering",
    [
        "erased_ms = 1",
        "erased_ms = 1, content = '', username = NULL",
        "erased_ms = 1, content = '', username = NULL, salt = NULL",
        "erased_ms = 1, content = '', username = NULL, salt = NULL, private = x'00'",
        "content = '', username = NULL, salt = NULL",
    ],
)
def test_a_row_that_only_looks_erased_is_found(archive: Archive, tampering: str) -> None:
    change(archive, f"UPDATE history SET {tampering} WHERE id = 4")  # noqa: S608
    assert broken(archive).row_id == 4


def test_a_recomputed_chain_is_found_by_a_seal_alone(archive: Archive) -> None:
    seal = proved(archive).seal
    forge(archive, 5, "I never said that.")
    assert proved(archive).rows == 9
    assert "do not match the seal" in broken(archive, seal).problem


def forge(archive: Archive, row_id: int, content: str) -> None:
    """Tamper like an attacker who can write the file and has read the source."""
    change(archive, "UPDATE history SET content = ? WHERE id = ?", content, row_id)
    heads = {
        each: hash_chain.of_channel(name)
        for each, name in archive.connection.execute("SELECT id, name FROM channel")
    }
    rows = archive.connection.execute(
        "SELECT id, channel_id, salt, username, content, personal,"  # noqa: S608
        f" {', '.join(hash_chain.FACTS)} FROM history"
    ).fetchall()
    for each, channel_id, salt, username, text, personal, *facts in rows:
        private = hash_chain.of_private(salt, username, text, personal)
        heads[channel_id] = hash_chain.of_row(heads[channel_id], private, tuple(facts))
        change(archive, "UPDATE history SET digest = ? WHERE id = ?", heads[channel_id], each)


def test_an_older_copy_is_found_by_a_seal(archive: Archive) -> None:
    archive.say("three", channel="#a")
    seal = proved(archive).seal
    change(archive, "DELETE FROM history WHERE id > 9")
    change(archive, "UPDATE sqlite_sequence SET seq = 9 WHERE name = 'history'")
    assert "there are only 9" in broken(archive, seal).problem


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 300])
def test_a_seal_of_any_row_holds_after_new_rows(tmp_path: Path, rows: int) -> None:
    with closing(Archive(tmp_path / "rosey-llm.db")) as archive:
        archive.connection.execute("BEGIN")
        archive.add([Row("help", "r1")] * rows)
        archive.connection.execute("COMMIT")
        seal = proved(archive).seal
        archive.connection.execute("BEGIN")
        archive.add([Row("help", "r2")] * 300, "#b")
        archive.connection.execute("COMMIT")
        assert proved(archive, seal).rows == rows + 300
        forged = Seal(rows, "0" * 64)
        assert "do not match the seal" in broken(archive, forged).problem


@pytest.mark.parametrize("text", ["", "9", "9:abc", ":" + "0" * 64, "x:" + "0" * 64])
def test_a_text_that_is_no_seal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal"):
        Seal.parse(text)


def test_a_seal_is_read_as_it_is_printed(archive: Archive) -> None:
    seal = proved(archive).seal
    assert Seal.parse(f" {seal}\n") == seal


def test_one_channel_is_verified_whatever_the_others_are(archive: Archive) -> None:
    change(archive, "DELETE FROM history WHERE id = 1")
    with closing(open_reader(archive.path)) as connection:
        found = verification.verify_channel(connection, "#b")
        assert (found.rows, found.channels, found.seal) == (4, 1, None)
        with pytest.raises(TamperedRow):
            verification.verify_channel(connection, "#a")
        with pytest.raises(KeyError):
            verification.verify_channel(connection, "#c")


@bounded
@given(st.lists(st.tuples(st.integers(1, 3), HISTORIES), max_size=5), st.data())
def test_any_history_is_verified_and_any_change_to_it_is_found(
    told: list[tuple[int, list[Turn]]], data: st.DataObject
) -> None:
    with channels("#a", "#b", "#c") as connection:
        for channel_id, turns in told:
            for turn in turns:
                history.append(connection, [history.TurnRows(channel_id, 0, turn)])
        found = verification.verify(connection)
        rows = connection.execute("SELECT count(*) FROM history").fetchone()[0]
        assert found.rows == rows
        if not rows:
            return
        row_id = data.draw(st.integers(1, rows))
        tamper = data.draw(st.sampled_from(TAMPERINGS))
        if tamper(connection, row_id):
            with pytest.raises(TamperedRow) as caught:
                verification.verify(connection, found.seal)
            assert (caught.value.row_id or rows + 1) >= row_id


def _is_changed(column: str, value: object) -> Callable[[sqlite3.Connection, int], bool]:
    def tamper(connection: sqlite3.Connection, row_id: int) -> bool:
        sql = f"UPDATE history SET {column} = ? WHERE id = ? AND {column} IS NOT ?"  # noqa: S608
        return bool(connection.execute(sql, (value, row_id, value)).rowcount)

    return tamper


def _is_removed(connection: sqlite3.Connection, row_id: int) -> bool:
    return bool(connection.execute("DELETE FROM history WHERE id = ?", (row_id,)).rowcount)


TAMPERINGS = [
    *(_is_changed(column, value) for column, value in COLUMNS.items() if column != "id"),
    _is_changed("channel_id", 1),
    _is_changed("content", ""),
    _is_changed("username", None),
    _is_changed("persona", None),
    _is_removed,
]
