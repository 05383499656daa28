"""Checkpoints: the journal stays small, whoever reads it, and nobody waits for readers."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from storage.checkpoints import DUE_BYTES, MOST_BYTES
from storage.database import Database
from storage.journal import Journal, checkpoint
from tests.storage import child
from tests.storage.writing import WAIT_S, add, names, seen_by_others

PIECE = 2_000_000  # of the journal: a channel's name stands in the table and in its index
DUE = DUE_BYTES // PIECE + 2


def journal(path: Path) -> int:
    """The bytes of its file."""
    return path.with_name(path.name + "-wal").stat().st_size


async def grow(database: Database, pieces: int, name: str) -> list[str]:
    """One commit for each of the pieces."""
    return [
        await database.write(add(f"{name}{number} " + "x" * (PIECE // 2)))
        for number in range(pieces)
    ]


async def until_in_file(path: Path, written: list[str]) -> None:
    """Until the database's file has it all by itself."""
    async with asyncio.timeout(WAIT_S):
        while _in_file(path) != written:  # noqa: ASYNC110 - another thread brings it there
            await asyncio.sleep(0.01)


def _in_file(path: Path) -> list[str]:
    # Without the journal; halves of what another thread writes meanwhile may be seen. To close it
    # frees SQLite's locks of this process, and there is no other one.
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as reader:
        try:
            return names(reader)
        except sqlite3.DatabaseError:
            return []


@asynccontextmanager
async def read(path: Path) -> AsyncIterator[sqlite3.Connection]:
    """Somebody reads what stands in the journal now, and keeps on reading."""
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        names(reader)
        yield reader


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [
        (record.levelno, record.getMessage())
        for record in caplog.records
        if record.name == "rosey_llm.storage"
    ]


async def test_a_moment_without_work_is_used_to_begin_the_journal_anew_in_its_place(
    on_file: Database, path: Path
) -> None:
    written: list[str] = []
    for name in "abc":
        written += await grow(on_file, DUE, name)
        await until_in_file(path, written)
        assert journal(path) < 2 * DUE_BYTES
    assert seen_by_others(path) == written


async def test_while_commits_go_on_the_journal_begins_anew_before_it_is_large(
    on_file: Database, path: Path
) -> None:
    written = await grow(on_file, 2 * MOST_BYTES // PIECE, "a")
    assert journal(path) < MOST_BYTES + 2 * PIECE
    assert seen_by_others(path) == written


async def test_a_reader_is_not_waited_for_and_the_journal_begins_anew_when_it_has_ended(
    on_file: Database, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with read(path) as reader:
        written = await grow(on_file, 2 * DUE, "a")
        assert journal(path) > 2 * DUE_BYTES
        assert names(reader) == []
        assert not await on_file.empty_journal()
    await until_in_file(path, written)
    written += await grow(on_file, DUE, "b")
    await until_in_file(path, written)
    assert seen_by_others(path) == written
    assert said(caplog) == []


async def test_a_journal_that_a_reader_lets_grow_without_end_is_said_once(
    on_file: Database, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with read(path):
        written = await grow(on_file, MOST_BYTES // PIECE + 20, "a")
        assert journal(path) > MOST_BYTES
        assert on_file.failing is None
    await until_in_file(path, written)
    assert seen_by_others(path) == written
    assert [level for level, _ in said(caplog)] == [logging.ERROR, logging.WARNING]
    assert "as long as somebody reads" in said(caplog)[0][1]


async def test_where_the_file_can_take_no_more_commits_go_on_and_it_is_said_once(
    path: Path,
) -> None:
    process = await child.start("crowded", path)
    async with asyncio.timeout(WAIT_S):
        output, _ = await process.communicate()
    written, failing, logged = json.loads(output)
    assert failing == [None]
    assert [level for level, _ in logged] == ["ERROR", "WARNING"]
    assert "cannot be brought into it" in logged[0][1]
    assert not path.with_name(path.name + "-wal").exists()
    assert seen_by_others(path) == written


async def test_closing_brings_everything_into_the_file(path: Path) -> None:
    database = Database(path)
    await database.open()
    written = await grow(database, DUE, "a")
    await database.close()
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}
    assert seen_by_others(path) == written


async def test_a_closed_database_holds_no_file_open(path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        database = Database(path)
        await database.open()
        await grow(database, DUE, "a")
        await database.write(_forget_all)
        await database.close()
    assert len(os.listdir("/dev/fd")) == before


def _forget_all(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM channel")


async def test_checkpoints_may_be_left_to_sqlite(path: Path) -> None:
    database = Database(path, own_checkpoints=False)
    await database.open()
    await grow(database, 3 * DUE, "a")
    assert journal(path) < 2 * DUE_BYTES
    await database.close()


async def test_what_is_in_use_of_the_journal_is_not_its_size(path: Path) -> None:
    path.parent.mkdir()
    with closing(Journal(path)) as measured:
        database = Database(path)
        await database.open()
        await grow(database, 1, "a")
        size = measured.size_bytes()
        assert PIECE < size <= journal(path)
        assert await asyncio.to_thread(_restarted, path)
        await database.write(add("b"))
        assert measured.size_bytes() < size / 10
        assert journal(path) >= size
        await database.close()


def _restarted(path: Path) -> bool:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        return checkpoint(other, "RESTART")
