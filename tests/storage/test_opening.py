import asyncio
import os
import re
import shutil
import signal
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from storage.errors import CannotOpen, DatabaseInUse
from storage.lock import Lock
from storage.queries.reader import open_reader
from storage.writer.database import Database
from tests.storage.conftest import BUSY_TIMEOUT_S
from tests.support import writer_process
from tests.support.channel_writes import add, seen_by_others
from tests.support.patience import WAIT_S


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_new_folder_and_all_files_are_for_their_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        database = Database(path)
        await database.open()
        await database.write(add("a"))
        files = sorted(path.parent.iterdir())
        assert {file.name: mode(file) for file in files} == {
            path.name: 0o600,
            f"{path.name}-shm": 0o600,
            f"{path.name}-wal": 0o600,
            f"{path.name}.lock": 0o600,
        }
        assert mode(path.parent) == 0o700
        await database.close()
    finally:
        os.umask(before)


async def test_a_folder_that_is_there_keeps_its_mode(path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    before = mode(path.parent)
    database = Database(path)
    await database.open()
    await database.close()
    assert mode(path.parent) == before


async def test_folders_above_are_made_as_well(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.db"
    database = Database(path)
    await database.open()
    await database.close()
    assert path.is_file()


def a_folder_in_its_place(path: Path) -> None:
    path.mkdir(parents=True)


def a_file_instead_of_its_folder(path: Path) -> None:
    path.parent.write_text("a file")


def a_file_instead_of_a_folder_above(path: Path) -> None:
    path.parent.parent.rmdir()
    path.parent.parent.write_text("a file")


def a_folder_in_place_of_the_lock(path: Path) -> None:
    path.with_name(path.name + ".lock").mkdir(parents=True)


def another_kind_of_file(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is not a database, but a text " * 1000)


def a_file_cut_short(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"SQLite format 3\0" + bytes(84) + b"\xff" * 5000)


def a_file_whose_schema_is_not_text(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE history (id)")
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_master SET sql = CAST(x'435245415445ff20ff' AS TEXT)")
        connection.commit()


UNUSABLE = [
    (a_folder_in_its_place, "Is a directory"),
    (a_file_instead_of_its_folder, "Not a directory"),
    (a_file_instead_of_a_folder_above, "Not a directory"),
    (a_folder_in_place_of_the_lock, "Is a directory"),
    (another_kind_of_file, "file is not a database"),
    (a_file_cut_short, "file is not a database|malformed"),
    (a_file_whose_schema_is_not_text, "its schema is damaged"),
]


@pytest.mark.parametrize(("prepare", "reason"), UNUSABLE)
async def test_an_error_of_opening_names_the_path_the_reason_and_what_to_do(
    tmp_path: Path, prepare: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "above" / "data" / "rosey-llm.db"
    path.parent.parent.mkdir()
    prepare(path)
    database = Database(path)
    for _ in range(2):
        with pytest.raises(CannotOpen, match=reason) as caught:
            await database.open()
        assert str(path) in str(caught.value)
        assert "[storage] path" in str(caught.value)
        assert not isinstance(caught.value, DatabaseInUse)
    await database.close()


def test_a_command_that_reads_says_that_a_schema_is_damaged(path: Path) -> None:
    a_file_whose_schema_is_not_text(path)
    with pytest.raises(CannotOpen, match=f"Cannot read {path}: its schema is damaged"):
        open_reader(path)


def test_a_command_that_reads_says_that_the_name_of_a_column_is_not_text(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE history (id)")
        connection.execute("PRAGMA writable_schema=ON")
        sql = b"CREATE TABLE history (\xff)"
        connection.execute("UPDATE sqlite_master SET sql = CAST(? AS TEXT)", [sql])
        connection.commit()
    with pytest.raises(CannotOpen, match=f"Cannot read {path}: Could not decode to UTF-8"):
        open_reader(path)


async def test_a_file_that_is_no_database_is_not_touched(path: Path) -> None:
    another_kind_of_file(path)
    before = path.read_bytes()
    with pytest.raises(CannotOpen, match="Move it away"):
        await Database(path).open()
    assert path.read_bytes() == before


async def test_after_a_failure_opening_may_be_tried_again(path: Path) -> None:
    another_kind_of_file(path)
    database = Database(path)
    with pytest.raises(CannotOpen):
        await database.open()
    path.unlink()
    await database.open()
    assert await database.write(add("a")) == "a"
    await database.close()


async def test_a_second_engine_is_told_which_process_has_the_file(
    on_file: Database, path: Path
) -> None:
    with pytest.raises(DatabaseInUse, match=rf"in use by rosey-llm, process {os.getpid()}\b"):
        await Database(path).open()
    assert await on_file.write(add("a")) == "a"


async def test_the_name_in_the_lock_file_is_replaced_in_one_write(path: Path) -> None:
    lock = Lock(path)
    lock.take()
    file = path.with_name(path.name + ".lock")
    before = file.read_text()
    lock.tell_end()  # a file that became shorter first could be read empty, or not be written
    after = file.read_text()
    assert len(before) == len(after)
    assert after.strip() == f"{before.strip()}, which is ending"
    lock.free()


async def test_opening_twice_is_refused_and_harms_nothing(on_file: Database) -> None:
    with pytest.raises(DatabaseInUse):
        await on_file.open()
    assert await on_file.write(add("a")) == "a"


async def test_closing_lets_the_next_one_in(path: Path) -> None:
    for number in range(3):
        database = Database(path)
        await database.open()
        await database.write(add(f"c{number}"))
        await database.close()
    assert seen_by_others(path) == ["c0", "c1", "c2"]


async def test_two_databases_in_memory_have_nothing_to_do_with_each_other() -> None:
    databases = [Database(None) for _ in range(2)]
    for database in databases:
        await database.open()
        assert await database.write(add("a")) == "a"
    for database in databases:
        await database.close()


@pytest.mark.process
async def test_another_process_keeps_the_file_until_it_dies(path: Path) -> None:
    process = await writer_process.start("write", path)
    assert process.stdout is not None
    async with asyncio.timeout(WAIT_S):
        await process.stdout.readline()
        with pytest.raises(DatabaseInUse, match=rf"process {process.pid}\b"):
            await Database(path).open()
        process.send_signal(signal.SIGKILL)
        await process.stdout.read()
        await process.wait()
    database = Database(path)
    await database.open()
    await database.close()


async def test_a_start_that_is_cancelled_can_be_closed(path: Path) -> None:
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    database = Database(path)
    opening = asyncio.create_task(database.open())
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])
    await database.close()
    assert opening.cancelled()
    assert problems == []
    await database.open()
    await database.close()


async def test_a_file_locked_by_another_program_is_reported_as_locked(path: Path) -> None:
    database = Database(path, busy_timeout_s=BUSY_TIMEOUT_S)
    await database.open()
    await database.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(
            CannotOpen, match=rf"^Cannot use the database {re.escape(str(path))}: .* is locked"
        ):
            await database.open()
    await database.open()
    await database.close()


async def test_a_copy_without_its_wal_is_called_one(path: Path, tmp_path: Path) -> None:
    database = Database(path)
    await database.open()
    await database.write(add("a"))
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    await database.close()
    with pytest.raises(CannotOpen, match=r"or a copy without its -wal file\. .*rosey-llm backup"):
        open_reader(copy)
