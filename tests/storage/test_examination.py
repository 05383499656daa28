"""Whether a database could be used is found out without leaving a trace."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from storage.errors import CannotOpen, DatabaseInUse
from storage.examination import examine, require_writable
from storage.writer.database import Database
from tests.support.footprint import footprint


async def made(path: Path) -> None:
    database = Database(path)
    await database.open()
    await database.close()


async def test_a_database_that_can_be_used_passes_and_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "data" / "rosey-llm.db"
    before = footprint(tmp_path)
    examine(path)
    assert footprint(tmp_path) == before
    await made(path)
    before = footprint(tmp_path)
    examine(path)
    assert footprint(tmp_path) == before


async def test_a_database_with_a_wal_of_a_crash_passes_and_nothing_changes(tmp_path: Path) -> None:
    source, path = tmp_path / "a.db", tmp_path / "b.db"
    database = Database(source)
    await database.open()
    for suffix in ("", "-wal"):
        (tmp_path / f"b.db{suffix}").write_bytes((tmp_path / f"a.db{suffix}").read_bytes())
    await database.close()
    assert (tmp_path / "b.db-wal").stat().st_size
    before = footprint(tmp_path)
    examine(path)
    assert footprint(tmp_path) == before


async def test_a_database_in_use_is_told_from_one_that_cannot_be_used(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db")
    await database.open()
    with pytest.raises(DatabaseInUse, match="is in use by rosey-llm, process"):
        examine(tmp_path / "x.db")
    await database.close()
    examine(tmp_path / "x.db")


def refusal(path: Path) -> str:
    with pytest.raises(CannotOpen) as caught:
        examine(path)
    return str(caught.value)


async def opening_refusal(path: Path) -> str:
    with pytest.raises(CannotOpen) as caught:
        await Database(path).open()
    return str(caught.value)


async def test_it_says_what_opening_would_say(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("This is no database. " * 100)
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "file").write_text("")
    await made(tmp_path / "newer.db")
    with sqlite3.connect(tmp_path / "newer.db") as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('rosey-llm', 'm999_future', 'now')"
        )
    connection.close()
    for name in ("text.db", "folder.db", "newer.db"):
        before = footprint(tmp_path)
        told = refusal(tmp_path / name)
        assert footprint(tmp_path) == before
        assert told == await opening_refusal(tmp_path / name)
        (tmp_path / f"{name}.lock").unlink(missing_ok=True)
    assert "Not a directory" in refusal(tmp_path / "file" / "x.db")
    told = refusal(Path("/proc/rosey/x.db"))
    assert re.fullmatch(
        r"Cannot use the database /proc/.*\(/proc\)\. Set \[storage\] path .*", told
    )


def test_a_folder_that_is_missing_is_as_good_as_the_one_above_it(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b" / "c")
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="/proc"):
        require_writable(Path("/proc/a/b"))
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match="lost"):
        require_writable(tmp_path / "lost")
