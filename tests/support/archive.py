"""A database in a file, for tests of operators' queries."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from storage import history
from storage.history import Row
from storage.migrations import migrate
from storage.row_kinds import Kind


class Archive:
    """A database file with a writer of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        migrate(self.connection, str(path))
        self._requests = 0

    def close(self) -> None:
        self.connection.close()

    def channel_id(self, name: str) -> int:
        self.connection.execute(
            "INSERT INTO channel (name, created_ms) VALUES (?, 0) ON CONFLICT DO NOTHING", (name,)
        )
        found = self.connection.execute("SELECT id FROM channel WHERE name = ?", (name,))
        return int(found.fetchone()[0])

    def add(self, rows: Iterable[Row], channel: str = "#lobby", ts_ms: int = 0) -> int:
        """Append rows; return the last row's id."""
        return history.append(
            self.connection, [history.TurnRows(self.channel_id(channel), ts_ms, tuple(rows))]
        )[0]

    def say(
        self,
        text: str,
        answer: str = "Well.",
        *,
        user: str = "alice",
        channel: str = "#lobby",
        ts_ms: int = 0,
        **outcome: Any,
    ) -> int:
        """Append a message and its answer; return the answer's id."""
        self._requests += 1
        request_id = outcome.pop("request_id", f"request-{self._requests}")
        kind: Kind = outcome.pop("kind", "answer")
        rows = (
            Row("message", request_id, user, text),
            Row(kind, request_id, user, answer, **outcome),
        )
        return self.add(rows, channel, ts_ms)

    def erase(self, row_id: int, at_ms: int = 1) -> None:
        self.connection.execute(
            "UPDATE history SET erased_ms = ?, username = NULL, content = '', salt = NULL,"
            " private = x'00' WHERE id = ?",
            (at_ms, row_id),
        )

    def contents(self) -> list[tuple[int, str]]:
        """Return (id, content) of all rows but the events of erasures."""
        return self.connection.execute(
            "SELECT id, content FROM history WHERE kind <> 'erased'"
        ).fetchall()


def copy(archive: Archive, path: Path) -> Path:
    with closing(sqlite3.connect(path)) as target:
        archive.connection.backup(target)
    return path
