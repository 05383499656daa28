"""Before a new version changes a file, it copies it."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from storage.errors import CannotOpen
from storage.schema import STEPS
from storage.writer.database import Database

RECORDED = Path(__file__).parents[1] / "data" / "database_23a6b4f.sql"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database that the code of an earlier version wrote."""
    path = tmp_path / "rosey-llm.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(RECORDED.read_text())
        connection.execute("PRAGMA journal_mode=WAL")
    return path


async def migrated(path: Path, *, backup: bool = True) -> None:
    database = Database(path, backup_before_migration=backup)
    await database.open()
    await database.close()


def names(path: Path) -> set[str]:
    return {each.name for each in path.parent.iterdir() if not each.name.endswith(".lock")}


def steps(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return len(connection.execute("SELECT * FROM _sqlite_migrations").fetchall())


async def test_the_copy_is_the_file_as_it_was(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        before = list(connection.iterdump())
    await migrated(path)
    copy = path.with_name("rosey-llm.db.before-m003")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert list(connection.iterdump()) == before
    assert (steps(copy), steps(path)) == (2, len(STEPS))


async def test_the_log_says_that_the_schema_is_changed_and_when_that_is_done(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await migrated(path)
    _, begins, ends = caplog.messages
    assert "is changed for this version (m003_replies_and_erasures, " in begins
    assert ends == f"The schema of {path} is now that of this version."
    caplog.clear()
    await migrated(path)
    assert caplog.messages == []


async def test_there_is_one_copy_and_a_current_file_is_not_copied(path: Path) -> None:
    await migrated(path)
    copy = path.with_name("rosey-llm.db.before-m003")
    inode = copy.stat().st_ino
    await migrated(path)
    assert copy.stat().st_ino == inode
    assert {name for name in names(path) if ".before" in name} == {copy.name}


async def test_a_new_file_is_not_copied(tmp_path: Path) -> None:
    await migrated(tmp_path / "new.db")
    assert not [name for name in names(tmp_path / "new.db") if ".before" in name]


async def test_the_copy_can_be_switched_off(path: Path) -> None:
    await migrated(path, backup=False)
    assert steps(path) == len(STEPS)
    assert not [name for name in names(path) if ".before" in name]


async def test_half_a_copy_of_a_crash_is_made_again(path: Path) -> None:
    path.with_name("rosey-llm.db.before-m003.part").write_bytes(b"half")
    await migrated(path)
    assert {name for name in names(path) if ".before" in name} == {"rosey-llm.db.before-m003"}


class Usage(NamedTuple):
    total: int
    used: int
    free: int


async def test_without_room_nothing_is_changed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A full disk cannot be had in a test; this is what the system says of one.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 1))
    with pytest.raises(CannotOpen, match="no room for the copy") as caught:
        await migrated(path)
    assert "backup_before_migration = false" in str(caught.value)
    assert steps(path) == 2


async def test_a_copy_that_cannot_be_made_stops_the_start(path: Path) -> None:
    path.with_name("rosey-llm.db.before-m003").mkdir()
    with pytest.raises(CannotOpen, match=r"before it could not be made: .*directory"):
        await migrated(path)
    assert steps(path) == 2
    assert not path.with_name("rosey-llm.db.before-m003.part").exists()
