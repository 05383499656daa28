"""Files of older versions, such as the copies from before an upgrade, can be read as they are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from storage import verification
from storage.queries import entries
from storage.queries.reader import open_reader
from storage.queries.selection import Selection
from tests.support.archive import Archive
from tests.support.command_line import rosey

OLD = Path(__file__).parents[1] / "data" / "database_23a6b4f.sql"
BACK_TO_M003 = """
    ALTER TABLE history DROP COLUMN personal;
    ALTER TABLE mailbox DROP COLUMN personal;
    DROP TABLE usage;
    DROP TABLE usage_from;
    DELETE FROM _sqlite_migrations WHERE name > 'm004';
"""


@pytest.fixture(params=["23a6b4f", "m003"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "rosey-llm.db"
    if request.param == "m003":
        with closing(Archive(path)) as archive:
            for number in range(15):
                archive.say(f"Hello {number}")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD.read_text() if request.param == "23a6b4f" else BACK_TO_M003)
    return path


def tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM main.sqlite_schema")}


def test_an_older_file_is_read_and_stays_as_it_is(path: Path) -> None:
    before = path.read_bytes()
    with closing(open_reader(path)) as connection:
        rows = entries.newest(connection, Selection(), 1000)
        assert len(rows) > 20
        assert {each.user_id for each in rows} == {None}
        assert entries.count(connection, Selection(user_id="U1")) == 0
        assert connection.execute("SELECT count(*) FROM usage").fetchone()[0] == 0
        if "sweep" in tables(connection):  # before that, erasures were no events
            assert verification.verify(connection).rows == len(rows)
        with pytest.raises(sqlite3.Error):
            connection.execute("DELETE FROM history")
    assert path.read_bytes() == before


@pytest.mark.process
def test_each_command_that_reads_copes_with_an_older_file(path: Path) -> None:
    def said(*arguments: str) -> str:
        done = rosey(path.parent, *arguments, "--database", str(path))
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    for command in ("channels", "export", "stats"):
        assert said("history", command)
    assert said("history", "show", "#lobby")
    (first, *_) = (orjson.loads(line) for line in said("history", "export").splitlines())
    word = first["content"].split()[0]
    assert first["content"] in said("history", "search", word)
    asked = ("history", "search", "Hello", "--user-id", "U1", "--database", str(path))
    none = rosey(path.parent, *asked)
    assert none.returncode == 1
    assert "Nothing was found" in none.stderr
    assert "requests" in said("usage")
