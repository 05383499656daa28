"""An order from its side who places it: another process than the service that carries it out."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

from storage import lock, orders
from storage.errors import CannotOpen

BUSY_TIMEOUT_S = 5.0
POLL_S = 0.05


class Errand:
    """An order that stands in the database; `place` makes one."""

    def __init__(self, connection: sqlite3.Connection, path: Path, order_id: int) -> None:
        self._connection = connection
        self._path = path
        self.order_id = order_id

    @classmethod
    @contextmanager
    def place(
        cls, path: Path, kind: str, body: Mapping[str, Any], *, known: int | None = None
    ) -> Iterator[Self]:
        """Have it in the database at `path`. CannotOpen where that cannot be written.

        known: the id of one that was placed already, and is meant.
        """
        try:
            with closing(_connect(path)) as connection:
                now_ms = time.time_ns() // 1_000_000
                order_id = known or orders.place(connection, kind, body, now_ms)
                yield cls(connection, path, order_id)
        except sqlite3.Error as exc:
            raise CannotOpen(f"{path} takes no orders: {exc}") from exc

    def look(self) -> Mapping[str, Any] | None:
        """What came of it; None where it still waits, and stays."""
        return orders.result(self._connection, self.order_id)

    def left_to_do(self) -> Mapping[str, Any]:
        """What is left of it, as whoever carries it out has noted."""
        return orders.left_to_do(self._connection, self.order_id)

    def result(self, patience_s: float) -> Mapping[str, Any] | None:
        """What came of it; None where nothing did in that time, or before the service ended.

        Then it is withdrawn: a service that has not begun it will not.
        """
        deadline_s = time.monotonic() + patience_s
        while time.monotonic() < deadline_s and lock.owner(self._path) is not None:
            found = orders.result(self._connection, self.order_id)
            if found is not None:
                return found
            time.sleep(POLL_S)
        with self._connection:
            found = orders.result(self._connection, self.order_id)
            orders.withdraw(self._connection, self.order_id)
        return found


def _connect(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)
