"""Tests of outages: failed writes are reported, none is half done, work resumes by itself."""

import asyncio
import json
import logging
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from storage.errors import StorageUnavailable
from storage.writer.database import Database, Write
from tests.support import writer_process
from tests.support.channel_writes import add, held, names, seen_by_others
from tests.support.full_disk import fill, make_room, small_disk, small_disks_work
from tests.support.patience import WAIT_S


async def outcomes(database: Database, *works: Write[str]) -> list[str | BaseException]:
    async with held(database):
        writes = [database.write_soon(work) for work in works]
    return await asyncio.gather(*writes, return_exceptions=True)


def make_read_only(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only=1")


async def test_a_full_database_refuses_the_whole_group_and_writes_nothing_of_it(
    database: Database,
) -> None:
    await database.write(add("before"))
    await database.write(fill)
    results = await outcomes(database, add("a"), add("x" * 1_000_000), add("b"))
    assert [type(result) for result in results] == [StorageUnavailable] * 3
    assert await database.write(names) == ["before"]
    await database.write(make_room)
    assert await outcomes(database, add("c"), add("y" * 1_000_000)) == ["c", "y" * 1_000_000]
    assert (await database.write(names))[:2] == ["before", "c"]


async def test_a_database_that_has_become_read_only_refuses_writes(database: Database) -> None:
    await database.write(make_read_only)
    for name in "abc":
        with pytest.raises(StorageUnavailable, match="Cannot write the database"):
            await database.write(add(name))
    assert database.failing


async def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_ends(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await database.write(fill)
    for _ in range(3):
        await outcomes(database, add("x" * 1_000_000))
        await database.write(names)
        assert database.failing
    await database.write(make_room)
    for number in range(3):
        await database.write(add(f"c{number}"))
        assert database.failing is None
    assert levels(caplog) == [logging.ERROR, logging.WARNING]


def levels(caplog: pytest.LogCaptureFixture) -> list[int]:
    return [record.levelno for record in caplog.records if record.name == "rosey_llm.storage"]


async def test_a_file_locked_by_another_refuses_all_and_resumes_when_it_is_free(
    on_file: Database, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            writes = [on_file.write_soon(work) for work in (add("a"), names, add("b"))]
            results = await asyncio.gather(*writes, return_exceptions=True)
            assert [type(result) for result in results] == [StorageUnavailable] * 3
        assert levels(caplog) == [logging.ERROR]
        other.execute("ROLLBACK")
        assert await on_file.write(add("c")) == "c"
    assert seen_by_others(path) == ["c"]
    assert levels(caplog) == [logging.ERROR, logging.WARNING]


async def test_a_reader_delays_no_write(on_file: Database, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        assert names(other) == []
        assert await on_file.write(add("a")) == "a"
        assert names(other) == []


async def test_a_damaged_page_is_an_outage_and_no_fault_of_a_write(path: Path) -> None:
    database = Database(path)
    await database.open()
    root, size = await database.write(root_page_of_channels)
    await database.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    await database.open()
    with pytest.raises(StorageUnavailable, match="malformed"):
        await database.write(add("a"))
    assert database.failing
    await database.close()


def root_page_of_channels(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the first page of the table, and the bytes of a page."""
    (root,) = connection.execute(
        "SELECT rootpage FROM sqlite_master WHERE name = 'channel'"
    ).fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return root, size


@pytest.mark.process
async def test_a_full_disk_refuses_writes_and_accepts_them_once_there_is_room(
    path: Path,
) -> None:
    process = await writer_process.start("full", path)
    async with asyncio.timeout(WAIT_S):
        output, _ = await process.communicate()
    written, refused, again, failing = json.loads(output)
    assert written
    assert refused
    assert again == refused
    assert failing
    assert seen_by_others(path) == [*written, *refused]


@pytest.mark.process
@pytest.mark.parametrize("lines", [1, 10, 100, 1000])
async def test_writes_reported_as_committed_survive_a_kill(path: Path, lines: int) -> None:
    process = await writer_process.start("write", path)
    assert process.stdout is not None
    async with asyncio.timeout(WAIT_S):
        for _ in range(lines):
            await process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        rest = await process.stdout.read()
        await process.wait()
    reported = lines + rest.count(b"\n")
    database = Database(path)
    await database.open()
    found = await database.write(names)
    await database.close()
    assert found == [str(number) for number in range(len(found))]
    assert len(found) >= reported


@pytest.mark.process
async def test_a_small_write_that_a_full_disk_still_takes_ends_no_outage(tmp_path: Path) -> None:
    if not small_disks_work(tmp_path / "disk"):
        pytest.skip("this machine allows no mounts in namespaces")
    child = f"{sys.executable} -m {writer_process.__name__} crammed {tmp_path / 'disk' / 'db'}"
    process = await asyncio.create_subprocess_exec(
        *small_disk(tmp_path / "disk", 4_000_000, f"exec {child}"),
        cwd=writer_process.ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WAIT_S):
        output, _ = await process.communicate()
    refused, small, with_room = json.loads(output)
    assert "is full" in refused
    assert small == refused
    assert with_room is None
