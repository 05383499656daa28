"""Writes for tests, each adds a channel; and readers that see them from outside."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

from storage.writer.database import Database, Write
from tests.support.patience import WAIT_S


def add(name: str) -> Write[str]:
    """Return a write that adds a channel and returns its name."""
    return partial(_add, name=name)


def _add(connection: sqlite3.Connection, name: str) -> str:
    connection.execute("INSERT INTO channel (name, created_ms) VALUES (?, 0)", (name,))
    return name


def names(connection: sqlite3.Connection) -> list[str]:
    """Return the channels in the order in which they were added."""
    return [name for (name,) in connection.execute("SELECT name FROM channel ORDER BY id")]


def seen_by_others(path: Path) -> list[str]:
    """Return the committed channels, read by another connection, as an operator would."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return names(connection)


@asynccontextmanager
async def held(database: Database) -> AsyncIterator[None]:
    """Hold the writer in a write, so that all writes of the block are one group."""
    begun, go_on = threading.Event(), threading.Event()

    def hold(connection: sqlite3.Connection) -> None:
        begun.set()
        assert go_on.wait(WAIT_S)

    holding = database.write_soon(hold)
    assert await asyncio.to_thread(begun.wait, WAIT_S)
    try:
        yield
    finally:
        go_on.set()
        await asyncio.wait([holding])


def traced_soon(database: Database) -> list[str]:
    """Return a list that gets the writer's statements from its next write on."""
    statements: list[str] = []
    database.write_soon(lambda connection: connection.set_trace_callback(statements.append))
    return statements
