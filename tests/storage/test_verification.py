"""Tests of `verify`: it finds every way of tampering with the history."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engine.interfaces.reports.output import Output
from engine.interfaces.reports.verification import print_tampered
from storage import hash_chain, persona_versions, verification
from storage.verification import Seal, TamperedRow
from tests.support.archive import Archive
from tests.support.tampering import (
    COLUMNS,
    LATER,
    broken,
    change,
    copy_as,
    nine_rows,
    proved,
)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with nine_rows(tmp_path / "rosey-llm.db") as archive:
        yield archive


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


def test_all_columns_are_tried(archive: Archive) -> None:
    there = {row[1] for row in archive.connection.execute("PRAGMA table_info(history)")}
    assert there - COLUMNS.keys() == {"published_ms"}
    assert set(hash_chain.FACTS) | {"id", "channel_id", "username", "content", "personal"} <= there


@pytest.mark.parametrize("scope", ["*", "c:#a", "e:ollama"])
def test_a_sum_that_has_less_than_the_history_is_found(archive: Archive, scope: str) -> None:
    change(archive, "UPDATE usage SET prompt_tokens = 0 WHERE scope = ?", scope)
    found = broken(archive)
    assert found.row_id is None
    assert f'for "{scope}" in the table usage' in found.problem


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


@pytest.mark.parametrize("column", ["ts_ms", "seq"])
def test_a_damaged_file_with_texts_in_place_of_numbers_is_named(
    archive: Archive, column: str
) -> None:
    archive.connection.execute("PRAGMA writable_schema=ON")
    archive.connection.execute(
        "UPDATE sqlite_master SET sql = replace(sql, 'STRICT', '') WHERE name = 'history'"
    )
    archive.connection.execute("PRAGMA writable_schema=RESET")
    archive.connection.execute(f"UPDATE history SET {column} = 'x' WHERE id = 2")  # noqa: S608
    with pytest.raises(TamperedRow) as found:
        verification.verify(archive.connection)
    shown = io.StringIO()
    print_tampered(Output(shown), found.value)
    assert "Row 2 " in shown.getvalue()
