"""The one connection, its one thread, and group commit.

Everything that is asked to be written since the last commit goes into the next one. Awaiting a
write means awaiting that commit: when it returns, the write is on disk.

A write is a function of the connection. It may run more than once before its commit succeeds (a
neighbour in the group failed, say), so it must hold no state of its own.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from storage.errors import CannotOpen, DatabaseInUse, StorageUnavailable
from storage.migrations import migrate

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], T]
Durability = Literal["full", "normal"]

log = logging.getLogger("rosey_llm.storage")
GROUP_LIMIT = 512


@dataclass(slots=True)
class _Job(Generic[T]):
    work: Write[T]
    done: asyncio.Future[T]
    result: T | None = None
    error: Exception | None = None


class Database:
    """A SQLite file in WAL mode, or a database in memory where `path` is None.

    durability "full" survives a power cut, "normal" a crash of the process.
    """

    def __init__(self, path: Path | None, durability: Durability = "full") -> None:
        self.path = path
        self._durability = durability
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._lock_fd: int | None = None
        self.failing: str | None = None

    async def open(self) -> None:
        """Raises CannotOpen with a sentence that says what to do."""
        self._loop = asyncio.get_running_loop()
        self._take_lock()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(
            target=self._run, args=(opened,), name="rosey-llm-writer", daemon=True
        )
        self._thread.start()
        try:
            await opened
        except CannotOpen:
            self._free_lock()
            self._thread = None
            raise

    async def close(self) -> None:
        """Commit what is waiting, then close. May be called twice."""
        if self._thread is None:
            return
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._thread = None
        self._free_lock()

    async def write(self, work: Write[T]) -> T:
        """Run `work` in the next group commit; returns once that commit is on disk.

        Raises StorageUnavailable where the commit failed: then nothing of it is in the database.
        """
        return await self.write_soon(work)

    def write_soon(self, work: Write[T]) -> asyncio.Future[T]:
        """`write`, in the order of the calls, without waiting; the future tells of the commit."""
        if self._thread is None:
            raise StorageUnavailable("The database is closed.")
        done: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(work, done))
        return done

    # What follows runs in the thread.

    def _run(self, opened: asyncio.Future[None]) -> None:
        try:
            connection = self._connect()
        except (sqlite3.Error, OSError, CannotOpen) as exc:
            error = exc if isinstance(exc, CannotOpen) else CannotOpen(f"{self.path}: {exc}")
            self._in_loop(opened.set_exception, error)
            return
        self._in_loop(opened.set_result, None)
        try:
            while group := self._next_group():
                self._commit(connection, group)
                self._in_loop(_resolve, group)
        finally:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        name = str(self.path) if self.path else ":memory:"
        if self.path:
            # SQLite gives its -wal and -shm files the mode of the database.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(name, isolation_level=None, timeout=5.0, cached_statements=256)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={self._durability}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA journal_size_limit=67108864")
        migrate(connection, name)
        return connection

    def _next_group(self) -> list[_Job[Any]]:
        job = self._jobs.get()
        group: list[_Job[Any]] = []
        while job is not None:
            group.append(job)
            if len(group) == GROUP_LIMIT or self._jobs.empty():
                return group
            job = self._jobs.get()
        if group:
            self._jobs.put(None)  # commit first, then see the end again
        return group

    def _commit(self, connection: sqlite3.Connection, group: list[_Job[Any]]) -> None:
        """Commit the whole group; a job with a fault of its own is left out, and only that one."""
        good = group
        while good:
            culprit = self._attempt(connection, good)
            if culprit is None:
                return
            good = [job for job in good if job is not culprit and job.error is None]

    def _attempt(self, connection: sqlite3.Connection, jobs: list[_Job[Any]]) -> _Job[Any] | None:
        current: _Job[Any] | None = None
        try:
            connection.execute("BEGIN IMMEDIATE")
            for current in jobs:
                current.result = current.work(connection)
            current = None
            connection.execute("COMMIT")
        except sqlite3.OperationalError as exc:
            _roll_back(connection)
            self._say_failing(exc)
            for job in jobs:
                job.error = StorageUnavailable(f"The database cannot be written: {exc}")
        except Exception as exc:  # noqa: BLE001 - the writer thread's edge: it must outlive any job
            _roll_back(connection)
            if current is None:
                current = jobs[0]
            current.error = exc
            return current
        else:
            self._say_well()
        return None

    def _say_failing(self, exc: Exception) -> None:
        if self.failing is None:
            log.error("The database %s cannot be written: %s", self.path, exc)
        self.failing = str(exc)

    def _say_well(self) -> None:
        if self.failing is not None:
            log.warning("The database %s can be written again.", self.path)
            self.failing = None

    def _in_loop(self, call: Callable[..., object], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            log.debug("The event loop has ended before the writer thread.")

    def _take_lock(self) -> None:
        """One engine per file: SQLite would let two in, and each would answer everything."""
        if self.path is None:
            return
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            if not self.path.parent.exists():
                self.path.parent.mkdir(parents=True, mode=0o700)
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise CannotOpen(
                f"{self.path} cannot be used: {exc.strerror} ({lock}). "
                "Set [storage] path to a folder that can be written."
            ) from exc
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(fd, 100).decode(errors="replace").strip() or "another process"
            os.close(fd)
            raise DatabaseInUse(
                f"{self.path} is in use by {owner}. Stop that one first, or set [storage] path."
            ) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"rosey-llm, process {os.getpid()}".encode())
        self._lock_fd = fd

    def _free_lock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _resolve(group: list[_Job[Any]]) -> None:
    for job in group:
        if job.done.done():  # whoever waited was cancelled
            continue
        if job.error is not None:
            job.done.set_exception(job.error)
        else:
            job.done.set_result(job.result)
