"""Tests of the writer's work outside of transactions: truncating the WAL, compacting the file."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage.errors import StorageUnavailable
from storage.writer.database import Database
from tests.support.channel_writes import add, held, seen_by_others


def wal_bytes(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size


async def test_the_wal_is_truncated_to_no_bytes(on_file: Database, path: Path) -> None:
    await on_file.write(add("#lobby"))
    assert wal_bytes(path) > 0
    assert await on_file.truncate_wal()
    assert wal_bytes(path) == 0
    assert seen_by_others(path) == ["#lobby"]


async def test_a_wal_that_is_being_read_is_left_alone_without_waiting(
    on_file: Database, path: Path
) -> None:
    await on_file.write(add("#lobby"))
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM channel").fetchall()
        await on_file.write(add("#support"))
        assert not await on_file.truncate_wal()
        await on_file.write(add("#garden"))
    assert await on_file.truncate_wal()
    assert seen_by_others(path) == ["#lobby", "#support", "#garden"]


async def test_a_compacted_file_has_all_data_and_nothing_else(
    on_file: Database, path: Path
) -> None:
    for number in range(100):
        await on_file.write(add(f"{number} " + "x" * 2000))
    await on_file.write(_forget_most)
    await on_file.truncate_wal()
    before = path.stat().st_size
    await on_file.compact()
    assert await on_file.truncate_wal()
    assert path.stat().st_size < before / 2
    assert [name.split()[0] for name in seen_by_others(path)] == ["0", "1"]


def _forget_most(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM channel WHERE id > 2")


async def test_writes_around_it_are_committed_in_their_order(database: Database) -> None:
    async with held(database):
        first = database.write_soon(add("first"))
        cleaned = asyncio.create_task(database.truncate_wal())
        compacted = asyncio.create_task(database.compact())
        await asyncio.sleep(0)
        second = database.write_soon(add("second"))
    assert (await first, await second, await cleaned) == ("first", "second", True)
    await compacted


async def test_if_the_file_cannot_be_compacted_nothing_changes(
    on_file: Database, path: Path
) -> None:
    await on_file.write(add("#lobby"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match="Cannot clean up"):
            await on_file.compact()
        other.execute("ROLLBACK")
    assert await on_file.write(add("#support")) == "#support"
    await on_file.compact()
    assert seen_by_others(path) == ["#lobby", "#support"]


async def test_deleted_data_is_overwritten(on_file: Database, path: Path) -> None:
    await on_file.write(add("xylophonic"))
    await on_file.write(lambda connection: connection.execute("DELETE FROM channel").rowcount)
    assert await on_file.truncate_wal()
    await on_file.close()
    assert b"xylophonic" not in path.read_bytes()


async def test_a_closed_database_is_not_cleaned(path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="closed"):
        await Database(path).truncate_wal()
