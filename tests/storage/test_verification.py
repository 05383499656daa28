"""Tests of `verify`: it finds every way of tampering with the history."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import erasure, hash_chain, history, persona_versions, verification
from storage.erasure import Scope
from storage.erasure_events import Erasure
from storage.history import Row
from storage.queries.reader import open_reader
from storage.verification import Seal, TamperedRow
from tests.support.archive import Archive
from tests.support.channel_histories import HISTORIES, Turn, channels

ORDER = Erasure("order")

bounded = settings(deadline=None, max_examples=100, database=None)
FULL = Row(
    "answer", "r9", "bob", "Yes.", "default", "ollama", "llama3.2", "stop", 40, 9, 800, "code",
    {"attempts": 1, "persona_version": "0123456789abcdef"},
)  # fmt: skip
# These are set later than the row, and are not part of its digest.
LATER = {"erased_ms", "published_ms"}


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """Rows 1 to 9: three turns in each of two channels, and one with a value in each column."""
    with closing(Archive(tmp_path / "rosey-llm.db")) as archive:
        archive.connection.execute("PRAGMA foreign_keys=OFF")
        for text in ("one", "two"):
            for channel in ("#a", "#b"):
                archive.say(text, channel=channel, user=f"user of {channel}", ts_ms=1000)
        archive.add([FULL], "#a", 2000)
        yield archive


def erase(archive: Archive, scope: Scope, at_ms: int = 5000) -> None:
    found = erasure.find(archive.connection, scope, 0, 10**9)
    row_ids = [row_id for row_id, _ in found.rows]
    erasure.blank(archive.connection, row_ids, at_ms, lambda channel, request_id: b"{}", ORDER)


def broken(archive: Archive, seal: Seal | None = None) -> TamperedRow:
    with closing(open_reader(archive.path)) as connection, pytest.raises(TamperedRow) as caught:
        verification.verify(connection, seal)
    return caught.value


def proved(archive: Archive, seal: Seal | None = None) -> verification.Verified:
    with closing(open_reader(archive.path)) as connection:
        return verification.verify(connection, seal)


def change(archive: Archive, sql: str, *values: object) -> None:
    assert archive.connection.execute(sql, values).rowcount >= 1


def copy_as(archive: Archive, row_id: int, new_id: int) -> None:
    columns = [
        row[1] for row in archive.connection.execute("PRAGMA table_info(history)") if row[1] != "id"
    ]
    names = ", ".join(columns)
    change(
        archive,
        f"INSERT INTO history (id, {names}) SELECT ?, {names} FROM history WHERE id = ?",  # noqa: S608
        new_id,
        row_id,
    )


def test_an_untouched_history_is_verified(archive: Archive) -> None:
    found = proved(archive)
    assert (found.rows, found.channels, found.erased) == (9, 2, 0)
    assert (found.first_ms, found.last_ms) == (1000, 2000)
    assert proved(archive, found.seal) == found


def test_a_history_without_rows_is_verified(tmp_path: Path) -> None:
    with closing(Archive(tmp_path / "rosey-llm.db")) as archive:
        found = proved(archive)
        assert (found.rows, found.first_ms, found.seal) == (0, None, Seal(0, str(found.seal)[2:]))
        assert proved(archive, found.seal) == found
        assert "not that of a history without rows" in broken(archive, Seal(0, "0" * 64)).problem


COLUMNS = {
    "id": 99,
    "channel_id": 2,
    "seq": 77,
    "ts_ms": 2001,
    "kind": "completion",
    "request_id": "r8",
    "username": "Bob",
    "content": "No.",
    "persona": "concise",
    "provider": "openai",
    "model": "llama3.3",
    "finish_reason": "length",
    "prompt_tokens": 41,
    "completion_tokens": 10,
    "latency_ms": 801,
    "code": "cod",
    "details": '{"attempts":2,"persona_version":"0123456789abcdef"}',
    "salt": b"x" * 16,
    "digest": b"x" * 32,
    "private": b"x" * 32,
    "erased_ms": 1,
}


def test_all_columns_are_tried(archive: Archive) -> None:
    there = {row[1] for row in archive.connection.execute("PRAGMA table_info(history)")}
    assert there - COLUMNS.keys() == {"published_ms"}
    assert set(hash_chain.FACTS) | {"id", "channel_id", "username", "content"} <= there


@pytest.mark.parametrize("column", COLUMNS)
def test_any_changed_column_is_found_with_its_row(archive: Archive, column: str) -> None:
    change(archive, f"UPDATE history SET {column} = ? WHERE id = 9", COLUMNS[column])  # noqa: S608
    found = broken(archive)
    assert found.row_id == (99 if column == "id" else 9)
    assert found.channel == ("#b" if column == "channel_id" else "#a")


@pytest.mark.parametrize("column", sorted(COLUMNS.keys() - LATER - {"id", "channel_id", "private"}))
def test_any_removed_value_is_found(archive: Archive, column: str) -> None:
    info = archive.connection.execute("PRAGMA table_info(history)").fetchall()
    may_be_null = {row[1]: not row[3] for row in info}
    if may_be_null[column]:
        change(archive, f"UPDATE history SET {column} = NULL WHERE id = 9")  # noqa: S608
    else:
        empty = {"TEXT": "", "INTEGER": 0, "BLOB": b""}[{row[1]: row[2] for row in info}[column]]
        change(archive, f"UPDATE history SET {column} = ? WHERE id = 9", empty)  # noqa: S608
    assert broken(archive).row_id == 9


@pytest.mark.parametrize("row_id", range(1, 10))
def test_a_changed_row_is_the_first_that_is_named(archive: Archive, row_id: int) -> None:
    change(archive, "UPDATE history SET content = content || '.' WHERE id >= ?", row_id)
    found = broken(archive)
    assert (found.row_id, "was changed" in found.problem) == (row_id, True)


@pytest.mark.parametrize("row_id", range(1, 9))
def test_a_removed_row_is_found(archive: Archive, row_id: int) -> None:
    change(archive, "DELETE FROM history WHERE id = ?", row_id)
    found = broken(archive)
    assert found.row_id == row_id + 1
    assert f"row {row_id} of the history was removed" in found.problem


@pytest.mark.parametrize("count", [1, 2, 9])
def test_removed_newest_rows_are_found(archive: Archive, count: int) -> None:
    change(archive, "DELETE FROM history WHERE id > ?", 9 - count)
    found = broken(archive)
    assert found.row_id is None
    assert "At the end, row" in found.problem


def test_removed_newest_rows_are_found_even_after_new_ones_were_written(archive: Archive) -> None:
    change(archive, "DELETE FROM history WHERE id >= 8")
    archive.say("three", channel="#b")
    assert "rows 8 to 9 of the history were removed" in broken(archive).problem


def test_a_removed_channel_is_found(archive: Archive) -> None:
    change(archive, "DELETE FROM history WHERE channel_id = 2")
    change(archive, "DELETE FROM channel WHERE id = 2")
    assert broken(archive).row_id == 5


def test_rows_without_their_channel_are_named(archive: Archive) -> None:
    change(archive, "DELETE FROM channel WHERE id = 2")
    assert "channel 2, which was removed" in broken(archive).problem


def test_a_removed_row_whose_gap_was_closed_is_found(archive: Archive) -> None:
    change(archive, "DELETE FROM history WHERE id = 5")
    for row_id in range(6, 10):
        change(archive, "UPDATE history SET id = id - 1 WHERE id = ?", row_id)
    change(archive, "UPDATE sqlite_sequence SET seq = 8 WHERE name = 'history'")
    found = broken(archive)
    assert (found.row_id, found.channel) == (5, "#a")
    assert "row 3 of its channel was removed" in found.problem


def test_an_inserted_row_is_found(archive: Archive) -> None:
    copy_as(archive, 9, 10)
    found = broken(archive)
    assert (found.row_id, "was inserted" in found.problem) == (10, True)


def test_an_inserted_row_with_the_next_number_is_found(archive: Archive) -> None:
    copy_as(archive, 9, 10)
    change(archive, "UPDATE history SET seq = seq + 1 WHERE id = 10")
    assert broken(archive).row_id == 10


def swap(archive: Archive, one: int, other: int) -> None:
    for before, after in ((one, -1), (other, one), (-1, other)):
        change(archive, "UPDATE history SET id = ? WHERE id = ?", after, before)


@pytest.mark.parametrize(("one", "other"), [(1, 2), (3, 4), (2, 9), (3, 8)])
def test_swapped_rows_of_a_channel_are_found(archive: Archive, one: int, other: int) -> None:
    swap(archive, one, other)
    assert broken(archive).row_id == one


def test_swapped_rows_of_two_channels_are_found_by_a_seal(archive: Archive) -> None:
    seal = proved(archive).seal
    swap(archive, 2, 3)
    assert "do not match the seal" in broken(archive, seal).problem


def test_swapped_contents_are_found(archive: Archive) -> None:
    change(archive, "UPDATE history SET content = (SELECT content FROM history WHERE id = 7)"
                    " WHERE id = 3")  # fmt: skip
    assert broken(archive).row_id == 3


@pytest.mark.parametrize("row_id", range(1, 10))
def test_a_row_that_was_moved_to_another_channel_is_found(archive: Archive, row_id: int) -> None:
    change(archive, "UPDATE history SET channel_id = 3 - channel_id WHERE id = ?", row_id)
    assert broken(archive).row_id == row_id


def test_a_renamed_channel_is_found(archive: Archive) -> None:
    change(archive, "UPDATE channel SET name = '#c' WHERE name = '#b'")
    found = broken(archive)
    assert (found.row_id, found.seq) == (3, 1)
    assert "channel was renamed" in found.problem


def test_swapped_channel_names_are_found(archive: Archive) -> None:
    change(archive, "UPDATE channel SET name = name || '!' WHERE id = 1")
    change(archive, "UPDATE channel SET name = '#a' WHERE id = 2")
    change(archive, "UPDATE channel SET name = '#b' WHERE id = 1")
    assert broken(archive).row_id == 1


@pytest.mark.parametrize("count", [0, 8, 10])
def test_a_changed_count_of_given_ids_is_found(archive: Archive, count: int) -> None:
    change(archive, "UPDATE sqlite_sequence SET seq = ? WHERE name = 'history'", count)
    assert broken(archive).row_id is None


def test_a_missing_count_of_given_ids_is_found(archive: Archive) -> None:
    change(archive, "DELETE FROM sqlite_sequence WHERE name = 'history'")
    assert "sqlite_sequence" in broken(archive).problem


def test_a_changed_text_of_a_persona_is_found(archive: Archive) -> None:
    persona_versions.keep(archive.connection, [("pirate", "Arr.")], 0)
    proved(archive)
    change(archive, "UPDATE persona_version SET prompt = 'Arr!'")
    assert 'persona "pirate"' in broken(archive).problem


def test_invalid_text_is_found(archive: Archive) -> None:
    change(archive, "UPDATE history SET content = CAST(x'ff' AS TEXT) WHERE id = 5")
    assert "Cannot read the file after row" in broken(archive).problem


# Erased rows.


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


# Seals.


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
        "SELECT id, channel_id, salt, username, content,"  # noqa: S608
        f" {', '.join(hash_chain.FACTS)} FROM history"
    ).fetchall()
    for each, channel_id, salt, username, text, *facts in rows:
        private = hash_chain.of_private(salt, username, text)
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


# One channel.


def test_one_channel_is_verified_whatever_the_others_are(archive: Archive) -> None:
    change(archive, "DELETE FROM history WHERE id = 1")
    with closing(open_reader(archive.path)) as connection:
        found = verification.verify_channel(connection, "#b")
        assert (found.rows, found.channels, found.seal) == (4, 1, None)
        with pytest.raises(TamperedRow):
            verification.verify_channel(connection, "#a")
        with pytest.raises(KeyError):
            verification.verify_channel(connection, "#c")


# Any history.


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
