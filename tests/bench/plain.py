"""The plain way: the same engine, but every write goes through aiosqlite in its own commit.

`python -m tests.bench.plain run --config FILE` is `rosey-llm run` with that store. Each write is
three hops to aiosqlite's thread: BEGIN, all its statements, COMMIT. The usual hop for each
statement would be slower. SQLite makes the checkpoints.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import aiosqlite

import storage.writer.database
from storage.writer.database import Database, Durability
from storage.writer.write_queue import Writable

T = TypeVar("T")


class PlainDatabase(Database):
    """A database that the real class locks, opens and migrates; all writes then go by aiosqlite."""

    def __init__(self, path: Path, durability: Durability = "full", **more: Any) -> None:
        super().__init__(path, durability, **more)
        self._plain = aiosqlite.connect(path, isolation_level=None)
        self._pragmas = (f"synchronous={durability}", "foreign_keys=ON", "secure_delete=ON")
        self._turn = asyncio.Lock()
        self._writes: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        await super().open()
        await self._plain
        for pragma in self._pragmas:
            await self._plain.execute(f"PRAGMA {pragma}")

    def write_soon(self, work: Writable[T]) -> asyncio.Future[T]:
        task: asyncio.Task[T] = asyncio.ensure_future(self._write_alone(work))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return asyncio.shield(task)  # a caller that stops waiting does not stop the write

    write_at_leisure = write_soon

    async def _write_alone(self, work: Writable[T]) -> T:
        async with self._turn:  # first come, first served, as the engine relies on
            await self._plain.execute("BEGIN IMMEDIATE")
            try:
                result: T = await self._plain._execute(_function(work), self._plain._conn)  # type: ignore[no-untyped-call]
            except BaseException:
                await self._plain.rollback()
                raise
            await self._plain.commit()
            return result

    async def close(self) -> None:
        await asyncio.gather(*self._writes, return_exceptions=True)
        await self._plain.close()
        await super().close()


def _function(work: Writable[T]) -> Callable[[sqlite3.Connection], T]:
    """Return a write as a function of the connection; a record is applied alone."""
    apply_all = getattr(work, "apply_all", None)
    if apply_all is None:
        return cast(Callable[[sqlite3.Connection], T], work)
    return lambda connection: cast(T, apply_all(connection, [work])[0])


if __name__ == "__main__":
    storage.writer.database.Database = PlainDatabase  # type: ignore[misc,assignment]

    import engine.app
    from engine.cli import main

    assert vars(engine.app)["Database"] is PlainDatabase, (
        "the engine uses another store class: adapt plain.py"
    )
    main()
