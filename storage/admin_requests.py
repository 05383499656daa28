"""Requests of other processes (erase, reload) to the service that uses the database.

They are rows of the table `orders`. A process places a request; the service carries it out and
stores the result. A request survives a crash of the service.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from storage import lock
from storage.errors import CannotOpen

BUSY_TIMEOUT_S = 30.0  # on a busy machine, one commit of the service follows the other
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class AdminRequest:
    """A waiting request. `kind` selects the handler, `body` has the arguments."""

    id: int
    kind: str
    body: Mapping[str, Any]
    created_ms: int


def place(connection: sqlite3.Connection, kind: str, body: Mapping[str, Any], now_ms: int) -> int:
    """Store a request; return its id, for `result`."""
    row = connection.execute(
        "INSERT INTO orders (kind, body, created_ms) VALUES (?, ?, ?) RETURNING id",
        (kind, orjson.dumps(body).decode(), now_ms),
    ).fetchone()
    return int(row[0])


def waiting(connection: sqlite3.Connection) -> list[AdminRequest]:
    """Return the requests that are not done, oldest first."""
    rows = connection.execute(
        "SELECT id, kind, body, created_ms FROM orders WHERE done_ms IS NULL ORDER BY id"
    )
    return [
        AdminRequest(id_, kind, orjson.loads(body), created) for id_, kind, body, created in rows
    ]


def save_progress(connection: sqlite3.Connection, request_id: int, body: Mapping[str, Any]) -> None:
    """Replace the body with what is left to do, to continue there after a crash."""
    connection.execute(
        "UPDATE orders SET body = ? WHERE id = ? AND done_ms IS NULL",
        (orjson.dumps(body).decode(), request_id),
    )


def progress(connection: sqlite3.Connection, request_id: int) -> Mapping[str, Any]:
    """Return the body as last saved; {} once the request is done."""
    row = connection.execute("SELECT body FROM orders WHERE id = ?", (request_id,)).fetchone()
    found: Mapping[str, Any] = orjson.loads(row[0]) if row else {}
    return found


def finish(
    connection: sqlite3.Connection, request_id: int, result: Mapping[str, Any], now_ms: int
) -> None:
    """Store the result and clear the body: it may name a user who is erased."""
    connection.execute(
        "UPDATE orders SET done_ms = ?, result = ?, body = '{}' WHERE id = ?",
        (now_ms, orjson.dumps(result).decode(), request_id),
    )


def result(connection: sqlite3.Connection, request_id: int) -> Mapping[str, Any] | None:
    """Return a request's result; None while it waits. KeyError if there is no such request."""
    row = connection.execute(
        "SELECT done_ms, result FROM orders WHERE id = ?", (request_id,)
    ).fetchone()
    if row is None:
        raise KeyError(request_id)
    found: Mapping[str, Any] | None = orjson.loads(row[1]) if row[0] is not None else None
    return found


def withdraw(connection: sqlite3.Connection, request_id: int) -> None:
    """Delete a request that is not done."""
    connection.execute("DELETE FROM orders WHERE id = ? AND done_ms IS NULL", (request_id,))


def prune(connection: sqlite3.Connection, before_ms: int) -> None:
    """Delete requests that were done before `before_ms`."""
    connection.execute("DELETE FROM orders WHERE done_ms < ?", (before_ms,))


class PlacedRequest:
    """A request, as seen by the process that placed it."""

    def __init__(self, connection: sqlite3.Connection, path: Path, request_id: int) -> None:
        self._connection = connection
        self._path = path
        self.request_id = request_id

    @classmethod
    @contextmanager
    def place(
        cls, path: Path, kind: str, body: Mapping[str, Any], *, known: int | None = None
    ) -> Iterator[Self]:
        """Store a request in the database at `path`.

        Raises CannotOpen if the database cannot be written.

        known: the id of a request that was placed earlier; no new one is stored.
        """
        try:
            with closing(_connect(path)) as connection:
                now_ms = time.time_ns() // 1_000_000
                request_id = known or place(connection, kind, body, now_ms)
                yield cls(connection, path, request_id)
        except sqlite3.Error as exc:
            raise CannotOpen(
                f"Cannot write the request to {path}: {exc}."
                " Run this command as the service's user, or try again."
            ) from exc

    def poll(self) -> Mapping[str, Any] | None:
        """Return the result; None while the request waits."""
        return result(self._connection, self.request_id)

    def progress(self) -> Mapping[str, Any]:
        """Return what is left to do, as last saved by the service."""
        return progress(self._connection, self.request_id)

    def result(self, patience_s: float) -> Mapping[str, Any] | None:
        """Wait for the result; return None if it is not there in time, or the service has ended.

        Then the request is withdrawn: a service that has not started it will not start it.
        """
        deadline_s = time.monotonic() + patience_s
        while time.monotonic() < deadline_s and lock.owner(self._path) is not None:
            found = result(self._connection, self.request_id)
            if found is not None:
                return found
            time.sleep(POLL_S)
        with self._connection:
            found = result(self._connection, self.request_id)
            withdraw(self._connection, self.request_id)
        return found


def _connect(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)
