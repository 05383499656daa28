"""Tests of checkpoints: the WAL stays small, and commits do not wait for readers."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from storage import lock
from storage.errors import DatabaseInUse
from storage.wal.checkpoint_schedule import DUE_BYTES, IDLE_S, MOST_BYTES, CheckpointSchedule
from storage.wal.wal_file import WalFile, checkpoint
from storage.writer.database import Database
from tests.support import writer_process
from tests.support.channel_writes import add, names, seen_by_others, traced_soon
from tests.support.patience import WAIT_S, until

PIECE = 2_000_000  # in the WAL: a channel's name is in the table and in its index
DUE = DUE_BYTES // PIECE + 2


def wal_bytes(path: Path) -> int:
    """Return the size of the WAL file."""
    return path.with_name(path.name + "-wal").stat().st_size


async def grow(database: Database, pieces: int, name: str) -> list[str]:
    """Make a commit for each of the pieces."""
    return [
        await database.write(add(f"{name}{number} " + "x" * (PIECE // 2)))
        for number in range(pieces)
    ]


async def grow_at_once(database: Database, name: str) -> list[str]:
    """Make one commit that is due for a checkpoint.

    Of several commits the last may come after the restart of the WAL, and stay in it.
    """
    written = [f"{name}{number} " + "x" * (PIECE // 2) for number in range(DUE)]

    def add_all(connection: sqlite3.Connection) -> list[str]:
        return [add(each)(connection) for each in written]

    return await database.write(add_all)


async def until_in_file(path: Path, written: list[str]) -> None:
    """Wait until the database file itself has it all."""
    await until(lambda: _in_file(path) == written)


def _in_file(path: Path) -> list[str]:
    # Without the WAL; half-written data of another thread may be seen. Closing it frees SQLite's
    # locks of this process, and there is no other process.
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as reader:
        try:
            return names(reader)
        except sqlite3.DatabaseError:
            return []


@asynccontextmanager
async def read(path: Path) -> AsyncIterator[sqlite3.Connection]:
    """Read the WAL, and keep on reading."""
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        names(reader)
        yield reader


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [
        (record.levelno, record.getMessage())
        for record in caplog.records
        if record.name == "rosey_llm.storage"
    ]


async def test_the_wal_is_restarted_in_place_when_there_is_no_work(
    on_file: Database, path: Path
) -> None:
    written: list[str] = []
    statements = traced_soon(on_file)
    for name in "abc":
        written += await grow_at_once(on_file, name)
        await until_in_file(path, written)
        await until(lambda: _restarted_by_the_writer(statements))  # the file has it a little before
        assert wal_bytes(path) < 2 * DUE_BYTES
    assert seen_by_others(path) == written


def _restarted_by_the_writer(statements: list[str]) -> bool:
    """Return whether the writer has restarted the WAL since its last commit."""
    ends = [each for each in statements if each in ("COMMIT", "PRAGMA wal_checkpoint(RESTART)")]
    return ends[-1] != "COMMIT"


async def test_while_commits_go_on_the_wal_restarts_before_it_is_large(
    on_file: Database, path: Path
) -> None:
    written = await grow(on_file, 2 * MOST_BYTES // PIECE, "a")
    assert wal_bytes(path) < MOST_BYTES + 2 * PIECE
    assert seen_by_others(path) == written


async def test_commits_do_not_wait_for_a_reader_and_the_wal_restarts_when_it_has_ended(
    on_file: Database, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with read(path) as reader:
        written = await grow(on_file, 2 * DUE, "a")
        assert wal_bytes(path) > 2 * DUE_BYTES
        assert names(reader) == []
        assert not await on_file.truncate_wal()
    await until_in_file(path, written)
    before = salt(path)
    async with asyncio.timeout(WAIT_S):
        while salt(path) == before:
            written.append(await on_file.write(add(f"b{len(written)}")))
            await asyncio.sleep(2 * IDLE_S)  # time without work
    assert seen_by_others(path) == written
    assert logged(caplog) == []


def salt(path: Path) -> bytes:
    """Return the salt of the WAL, which is new each time it restarts."""
    return path.with_name(path.name + "-wal").read_bytes()[16:24]


@pytest.mark.slow
async def test_a_wal_that_grows_since_it_is_being_read_is_logged_once(
    on_file: Database, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with read(path):
        written = await grow(on_file, MOST_BYTES // PIECE + 20, "a")
        assert wal_bytes(path) > MOST_BYTES
        assert on_file.failing is None
    await until_in_file(path, written)
    await until(lambda: len(logged(caplog)) > 1)  # the file has it a little before the writer knows
    assert seen_by_others(path) == written
    assert [level for level, _ in logged(caplog)] == [logging.ERROR, logging.WARNING]
    assert "as long as it is being read" in logged(caplog)[0][1]


@pytest.mark.process
async def test_if_the_file_cannot_grow_commits_go_on_and_it_is_logged_once(
    path: Path,
) -> None:
    process = await writer_process.start("crowded", path)
    async with asyncio.timeout(WAIT_S):
        output, _ = await process.communicate()
    written, failing, logged = json.loads(output)
    assert failing == [None]
    assert [level for level, _ in logged] == ["ERROR", "WARNING"]
    assert "Cannot copy the WAL" in logged[0][1]
    assert not path.with_name(path.name + "-wal").exists()
    assert seen_by_others(path) == written


async def test_closing_copies_everything_into_the_file(path: Path) -> None:
    database = Database(path)
    await database.open()
    written = await grow(database, DUE, "a")
    await database.close()
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}
    assert seen_by_others(path) == written


async def test_a_closed_database_holds_no_file_open(path: Path) -> None:
    gc.collect()  # or files left by earlier tests would be closed meanwhile
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        database = Database(path)
        await database.open()
        await grow(database, DUE, "a")
        await database.write(_forget_all)
        await database.close()
    assert len(os.listdir("/dev/fd")) <= before  # a thread of another test may have closed one


def _forget_all(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM channel")


async def test_checkpoints_may_be_left_to_sqlite(path: Path) -> None:
    database = Database(path, own_checkpoints=False)
    await database.open()
    await grow(database, 3 * DUE, "a")
    assert wal_bytes(path) < 2 * DUE_BYTES
    await database.close()


async def test_the_used_part_of_the_wal_is_not_its_size(path: Path) -> None:
    database = Database(path)
    await database.open()
    with closing(WalFile(path)) as measured:
        await grow(database, 1, "a")
        assert measured.reaches(PIECE)
        assert not measured.reaches(wal_bytes(path))
        assert await asyncio.to_thread(_restarted, path)
        await database.write(add("b"))
        assert not measured.reaches(PIECE // 10)
        assert wal_bytes(path) > PIECE
    await database.close()


def _restarted(path: Path) -> bool:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        return checkpoint(other, "RESTART") is not None


async def test_data_added_to_a_restarted_wal_counts_from_zero(path: Path) -> None:
    with closing(database(path)) as connection, closing(WalFile(path)) as measured:
        connection.execute("INSERT INTO channel VALUES (?)", ("a" * PIECE,))
        assert measured.reaches(PIECE)
        assert measured.restart(connection)
        assert not measured.reaches(1)
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM channel").fetchone()
            connection.execute("INSERT INTO channel VALUES (?)", ("b" * PIECE,))
            connection.execute("INSERT INTO channel VALUES (?)", ("c" * PIECE,))
            assert not measured.restart(connection)
            assert measured.reaches(2 * PIECE)
            assert not measured.reaches(3 * PIECE)


@pytest.mark.parametrize("listed", [True, False], ids=["/dev/fd", "nothing"])
def test_the_database_is_synced_also_if_the_system_lists_no_open_files(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    synced: list[bool] = []

    def sync(file: int) -> None:
        synced.append(os.path.samestat(os.fstat(file), path.stat()))

    monkeypatch.setattr("storage.wal.wal_file.sync", sync)
    folder = Path("/dev/fd") if listed else tmp_path / "none"
    with closing(database(path)), closing(WalFile(path, descriptors=folder)) as wal:
        wal.sync_database()
    assert synced == [True]


def database(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("CREATE TABLE channel (name)")
    return connection


async def test_while_nothing_is_written_nothing_is_done(on_file: Database, path: Path) -> None:
    statements = traced_soon(on_file)
    await until_in_file(path, await grow_at_once(on_file, "a"))
    await until(lambda: _restarted_by_the_writer(statements))
    statements.clear()
    for _ in range(20):
        await on_file.write(names)
        await asyncio.sleep(IDLE_S / 2)
    assert [each for each in statements if "checkpoint" in each] == []


def test_the_writer_does_all_the_work_if_there_is_no_thread_for_it(path: Path) -> None:
    with (
        closing(database(path)) as connection,
        closing(WalFile(path)) as measured,
    ):
        checkpoints = CheckpointSchedule(connection, path, measured)
        for name in "ab":
            connection.execute("INSERT INTO channel VALUES (?)", (name * 2 * DUE_BYTES,))
            checkpoints.after_commit()
            checkpoints.close()  # its thread has ended, and a thread starts only once
            checkpoints.idle()
            assert not measured.reaches(1)
            assert checkpoints.patience_s() is None


def test_a_failure_is_tried_again_after_four_megabytes_more_and_not_after_each_commit(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(database(path)) as connection, closing(WalFile(path)) as measured:
        checkpoints = CheckpointSchedule(connection, path, measured)
        statements: list[str] = []

        def commit(size: int) -> None:
            connection.execute("INSERT INTO channel VALUES (?)", ("x" * size,))
            connection.set_progress_handler(lambda: 1, 1)  # everything fails now
            connection.set_trace_callback(statements.append)
            checkpoints.after_commit()
            connection.set_trace_callback(None)
            connection.set_progress_handler(None, 1)

        connection.execute("INSERT INTO channel VALUES (?)", ("x" * 2 * DUE_BYTES,))
        checkpoints.after_commit()
        checkpoints.close()  # its thread has ended: from here on the writer does all the work
        checkpoints.idle()
        commit(2 * DUE_BYTES)
        for _ in range(5):
            commit(1)
        tried = len(statements)
        assert tried
        for _ in range(5):
            commit(1)
        assert len(statements) == tried
        commit(2 * DUE_BYTES)
        assert len(statements) > tried
        assert [level for level, _ in logged(caplog)] == [logging.ERROR]
        checkpoints.idle()
        assert not measured.reaches(1)


async def test_a_database_that_is_reached_by_a_link_has_its_files_beside_itself(
    path: Path, tmp_path: Path
) -> None:
    path.parent.mkdir(exist_ok=True)
    link = tmp_path / "linked" / "other.db"
    link.parent.mkdir()
    link.symlink_to(path)
    by_link = Database(link)
    await by_link.open()
    written = await grow_at_once(by_link, "a")
    await until_in_file(path, written)
    with pytest.raises(DatabaseInUse):
        await Database(path).reserve()
    assert lock.owner(path) == lock.owner(link) != None  # noqa: E711
    assert [file.name for file in link.parent.iterdir()] == [link.name]
    await by_link.close()
    assert seen_by_others(path) == written


UNLOG = """
import sqlite3, sys
try:
    sqlite3.connect(sys.argv[1], timeout=0).execute("PRAGMA journal_mode=delete")
except sqlite3.OperationalError as exc:
    print(exc)
"""


@pytest.mark.process
async def test_closing_leaves_the_locks_of_others_in_this_process_alone(path: Path) -> None:
    database = Database(path)
    await database.open()
    await grow(database, DUE, "a")
    async with read(path):
        await database.close()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", UNLOG, str(path)), stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(WAIT_S):
            output, _ = await process.communicate()
        assert output == b"database is locked\n"
