"""Tests of admin requests from another process, and of a database's owner."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from storage import admin_requests, lock
from storage.admin_requests import PlacedRequest
from storage.errors import CannotOpen
from storage.lock import Lock
from storage.writer.database import Database


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A database without an owner."""
    database = Database(tmp_path / "a.db")
    await database.open()
    await database.close()
    return tmp_path / "a.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """The database as the service uses it."""
    with closing(
        sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    ) as connection:
        connection.execute("PRAGMA busy_timeout=5000")
        yield connection


def test_the_owner_of_a_database_is_known_and_asking_takes_no_lock(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    assert lock.owner(database) is None
    service = Lock(database)
    service.take()
    assert lock.owner(database) == f"rosey-llm, process {os.getpid()}"
    service.free()
    assert lock.owner(database) is None
    service.take()
    service.free()


def test_a_request_returns_with_its_result(path: Path, connection: sqlite3.Connection) -> None:
    service = Lock(path)
    service.take()

    def carry_out() -> None:
        while not (waiting := admin_requests.waiting(connection)):
            pass
        admin_requests.finish(connection, waiting[0].id, {"ok": True, "rows": 3}, 1000)

    serving = threading.Thread(target=carry_out, daemon=True)
    with PlacedRequest.place(path, "erase", {"user": "alice"}) as placed:
        serving.start()
        assert placed.result(20.0) == {"ok": True, "rows": 3}
    serving.join()
    service.free()
    connection.close()


def test_a_request_that_no_service_carries_out_is_withdrawn(
    path: Path, connection: sqlite3.Connection
) -> None:
    with PlacedRequest.place(path, "reload", {}) as placed:
        assert len(admin_requests.waiting(connection)) == 1
        assert placed.result(20.0) is None  # at once, since no service runs
    service = Lock(path)
    service.take()
    with PlacedRequest.place(path, "reload", {}) as placed:
        assert placed.result(0.0) is None  # no time to wait for the service
    service.free()
    assert admin_requests.waiting(connection) == []
    connection.close()


def test_no_request_is_written_to_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("This is not a database, but some text of some length.")
    for name in ("none.db", "text.db"):
        with (
            pytest.raises(CannotOpen, match=f"Cannot write the request to .*{name}"),
            PlacedRequest.place(tmp_path / name, "reload", {}),
        ):
            raise AssertionError
    assert not (tmp_path / "none.db").exists()
