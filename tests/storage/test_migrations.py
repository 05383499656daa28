import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlite_utils
from click.testing import CliRunner
from sqlite_utils.cli import cli

from storage.errors import CannotOpen
from storage.migrations import migrate, migrations
from storage.schema import STEPS, is_current
from storage.writer.database import Database
from tests.support.channel_writes import add
from tests.support.patience import WAIT_S

TABLES = {
    "channel",
    "history",
    "mailbox",
    "orders",
    "outbox",
    "persona_version",
    "snapshot",
    "suspension",
}


def schema(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    found = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name")
    return [(name, sql) for name, sql in found if "sqlite_" not in name]


async def made(path: Path) -> None:
    database = Database(path)
    await database.open()
    await database.write(add("#lobby"))
    await database.close()


def test_a_fresh_database_gets_the_schema() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, ":memory:")
        assert {name for name, _ in schema(connection)} >= TABLES
        assert not connection.in_transaction


def test_migrating_again_changes_nothing(connection: sqlite3.Connection) -> None:
    add("#lobby")(connection)
    before = schema(connection)
    for _ in range(3):
        migrate(connection, "again")
    assert schema(connection) == before
    assert connection.execute("SELECT name FROM channel").fetchall() == [("#lobby",)]


def test_a_schema_is_current_with_these_steps_and_no_others(
    connection: sqlite3.Connection,
) -> None:
    assert is_current(connection)
    with closing(sqlite3.connect(":memory:")) as nothing:
        assert not is_current(nothing)
    connection.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
        " VALUES ('rosey-llm', 'm999_of_a_newer_version', '')"
    )
    assert not is_current(connection)


@pytest.mark.process
async def test_a_file_whose_schema_is_current_is_opened_without_sqlite_utils(path: Path) -> None:
    await made(path)
    code = f"""
import asyncio, sys
from pathlib import Path
from storage.writer.database import Database

async def main():
    database = Database(Path({str(path)!r}))
    await database.open()
    await database.close()

asyncio.run(main())
sys.exit("sqlite_utils" in sys.modules)
"""
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], timeout=WAIT_S)
    assert done.returncode == 0


def test_every_step_is_recorded(connection: sqlite3.Connection) -> None:
    db = sqlite_utils.Database(connection)
    assert [step.name for step in migrations.applied(db)] == list(STEPS)
    assert migrations.pending(db) == []


def test_other_tables_in_the_same_file_are_left_alone() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE notes (text)")
        others = sqlite_utils.Migrations("another-program")

        @others()
        def m042_theirs(db: sqlite_utils.Database) -> None:
            db.execute("INSERT INTO notes VALUES ('theirs')")

        others.apply(sqlite_utils.Database(connection))
        migrate(connection, ":memory:")
        assert connection.execute("SELECT text FROM notes").fetchall() == [("theirs",)]
        assert {name for name, _ in schema(connection)} >= TABLES


async def test_a_database_of_a_newer_version_is_refused_and_not_touched(path: Path) -> None:
    await made(path)
    with closing(sqlite3.connect(path)) as connection:
        newer = sqlite_utils.Migrations("rosey-llm")

        @newer()
        def m999_from_the_future(db: sqlite_utils.Database) -> None:
            db.execute("ALTER TABLE channel ADD COLUMN mood TEXT")

        newer.apply(sqlite_utils.Database(connection))
        connection.commit()
        before = schema(connection)
    with pytest.raises(CannotOpen, match=r"newer rosey-llm .*m999_from_the_future.*install"):
        await Database(path).open()
    with closing(sqlite3.connect(path)) as connection:
        assert schema(connection) == before


async def test_a_migration_that_fails_leaves_nothing(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        # One of the last tables to be created exists already, and is not ours.
        connection.execute("CREATE TABLE outbox (theirs)")
    database = Database(path)
    with pytest.raises(CannotOpen, match="outbox"):
        await database.open()
    with closing(sqlite3.connect(path)) as connection:
        assert {name for name, _ in schema(connection)} & TABLES == {"outbox"}
        connection.execute("DROP TABLE outbox")
    await database.open()
    assert await database.write(add("#lobby")) == "#lobby"
    await database.close()


async def test_sqlite_utils_reads_our_tables(path: Path) -> None:
    await made(path)
    with closing(sqlite_utils.Database(path)) as db:
        assert set(db.table_names()) >= TABLES
        assert [row["name"] for row in db["channel"].rows] == ["#lobby"]
    result = CliRunner().invoke(cli, ["rows", str(path), "channel"])
    assert result.exit_code == 0
    assert '"name": "#lobby"' in result.output


def test_a_long_step_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("storage.migrations.REPORT_ROWS", 2)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrations.apply(sqlite_utils.Database(connection), stop_before="m002_chain_of_digests")
        connection.execute("INSERT INTO channel VALUES (1, '#lobby', 0)")
        connection.executemany(
            "INSERT INTO history (channel_id, seq, ts_ms, kind, request_id, content)"
            " VALUES (1, ?, 0, 'message', '', 'Hello')",
            [(number,) for number in range(5)],
        )
        migrate(connection, "old.db")
    said = [line for line in caplog.messages if "being changed" in line]
    assert said == [f"The schema is being changed: row {row} of 5." for row in (2, 4)]
