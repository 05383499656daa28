"""Orders from another process, and who has a database."""

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from storage import admin_requests, lock
from storage.admin_requests import PlacedRequest
from storage.errors import CannotOpen
from storage.lock import Lock
from storage.writer.database import Database


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A database that nobody has."""
    database = Database(tmp_path / "a.db")
    await database.open()
    await database.close()
    return tmp_path / "a.db"


@pytest.fixture
def connection(path: Path) -> sqlite3.Connection:
    """As the service has it."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA busy_timeout=5000")
    return connection


def test_who_has_a_database_is_known_and_looking_takes_nothing(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    assert lock.owner(database) is None
    service = Lock(database)
    service.take()
    assert lock.owner(database) == f"rosey-llm, process {os.getpid()}"
    service.free()
    assert lock.owner(database) is None
    service.take()
    service.free()


def test_an_order_comes_back_with_what_came_of_it(
    path: Path, connection: sqlite3.Connection
) -> None:
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


def test_an_order_that_nobody_carries_out_is_withdrawn(
    path: Path, connection: sqlite3.Connection
) -> None:
    with PlacedRequest.place(path, "reload", {}) as placed:
        assert len(admin_requests.waiting(connection)) == 1
        assert placed.result(20.0) is None  # at once, since no service is there
    service = Lock(path)
    service.take()
    with PlacedRequest.place(path, "reload", {}) as placed:
        assert placed.result(0.0) is None  # no time to wait for the one that is
    service.free()
    assert admin_requests.waiting(connection) == []
    connection.close()


def test_what_is_no_database_takes_no_orders(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("This is not a database, but some text of some length.")
    for name in ("none.db", "text.db"):
        with (
            pytest.raises(CannotOpen, match=f"Cannot write the request to .*{name}"),
            PlacedRequest.place(tmp_path / name, "reload", {}),
        ):
            raise AssertionError
    assert not (tmp_path / "none.db").exists()
