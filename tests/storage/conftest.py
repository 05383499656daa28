import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from storage.migrations import migrate
from storage.writer.database import Database

BUSY_TIMEOUT_S = 0.01


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "rosey-llm.db"


@pytest.fixture
async def on_file(path: Path) -> AsyncIterator[Database]:
    """A database in a file that does not wait long for a lock."""
    database = Database(path, busy_timeout_s=BUSY_TIMEOUT_S)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def in_memory() -> AsyncIterator[Database]:
    database = Database(None)
    await database.open()
    yield database
    await database.close()


@pytest.fixture(params=["on_file", "in_memory"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def connection(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection with the schema, as writes get it: in memory, or with the param "file" there."""
    on_file = getattr(request, "param", "memory") == "file"
    name = str(tmp_path / "rosey-llm.db") if on_file else ":memory:"
    with closing(sqlite3.connect(name, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        migrate(connection, name)
        yield connection
