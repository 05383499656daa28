"""The one connection, its one thread, and group commit.

Everything that is asked to be written since the last commit goes into the next one. Awaiting a
write means awaiting that commit: when it returns, the write is on disk.

A write is a function of the connection. It may run more than once before its commit succeeds (a
neighbour in the group failed, say), so it must hold no state of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from storage.errors import CannotOpen, StorageUnavailable
from storage.lock import Lock
from storage.migrations import migrate

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], T]
Durability = Literal["full", "normal"]
OnCommit = Callable[[int, float, bool], None]

log = logging.getLogger("rosey_llm.storage")
GROUP_LIMIT = 512
BUSY_TIMEOUT_S = 5.0
# Result codes that tell of the file or the machine. All others are a fault of the statement.
BREAKDOWNS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}


@dataclass(slots=True)
class _Job(Generic[T]):
    work: Write[T]
    done: asyncio.Future[T]
    result: T | None = None
    error: Exception | None = None
    alone: bool = False


class Database:
    """A SQLite file in WAL mode, or a database in memory where `path` is None.

    durability "full" survives a power cut, "normal" a crash of the process. `busy_timeout_s` is
    how long a commit waits where another process has locked the file. `on_commit` is called in the
    writer's thread with how many writes were tried together, for how many seconds, and whether
    that failed.
    """

    def __init__(
        self,
        path: Path | None,
        durability: Durability = "full",
        *,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        on_commit: OnCommit = lambda writes, seconds, failed: None,
    ) -> None:
        self.path = path
        self._on_commit = on_commit
        self._durability = durability
        self._busy_timeout_s = busy_timeout_s
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._lock = Lock(path) if path else None
        self._reserved = False
        self.failing: str | None = None

    def reserve(self) -> None:
        """Take the file for this process, before an `open` that may take long.

        Raises CannotOpen with a sentence that says what to do.
        """
        if self._reserved:
            return
        try:
            self._lock_file()
        except OSError as exc:
            raise self._cannot_open(exc) from exc
        self._reserved = True

    async def open(self) -> None:
        """Raises CannotOpen with a sentence that says what to do."""
        self._loop = asyncio.get_running_loop()
        self.reserve()
        self._reserved = False  # from here on the writer's thread frees it
        opened: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(
            target=self._run, args=(opened,), name="rosey-llm-writer", daemon=True
        )
        self._thread.start()
        try:
            await opened
        except CannotOpen:
            self._thread = None
            raise

    async def close(self) -> None:
        """Commit what is waiting, then close. May be called twice."""
        # At once: what was asked to be written behind the end would wait forever.
        thread, self._thread = self._thread, None
        if thread is None:
            if self._reserved:
                self._reserved = False
                self._free_file()
            return
        self._jobs.put(None)
        await asyncio.to_thread(thread.join)

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

    async def empty_journal(self) -> bool:
        """Bring all that is committed into the file itself and cut the journal (-wal) to nothing.

        False where somebody reads what still stands in it; nothing waits for them.
        """
        return await self._alone(_empty_journal)

    async def compact(self) -> None:
        """Write the file anew, without the remains of what once stood in its pages.

        Commits wait meanwhile, about 14 s for 1 GB; it takes twice the file's size on the disk.
        Raises StorageUnavailable where there is no room; then all is as before.
        """
        await self._alone(_compact)

    async def _alone(self, work: Write[T]) -> T:
        if self._thread is None:
            raise StorageUnavailable("The database is closed.")
        done: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(work, done, alone=True))
        return await done

    # What follows runs in the thread.

    def _run(self, opened: asyncio.Future[None]) -> None:
        try:
            connection = self._connect()
        except (sqlite3.Error, OSError, CannotOpen) as exc:
            self._free_file()
            self._in_loop(_resolve_opened, opened, self._cannot_open(exc))
            return
        self._in_loop(_resolve_opened, opened, None)
        try:
            while group := self._next_group():
                self._commit(connection, [job for job in group if not job.alone])
                self._do_alone(connection, [job for job in group if job.alone])
                self._in_loop(_resolve, group)
        finally:
            connection.close()
            self._free_file()

    def _connect(self) -> sqlite3.Connection:
        name = str(self.path) if self.path else ":memory:"
        if self.path:
            # SQLite gives its -wal and -shm files the mode of the database.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(
            name, isolation_level=None, timeout=self._busy_timeout_s, cached_statements=256
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={self._durability}")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA journal_size_limit=67108864")
            connection.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten
            migrate(connection, name)
        except BaseException:
            connection.close()
            raise
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

    def _do_alone(self, connection: sqlite3.Connection, jobs: list[_Job[Any]]) -> None:
        """What cannot be done within a transaction."""
        for job in jobs:
            try:
                job.result = job.work(connection)
            except sqlite3.Error as exc:
                job.error = StorageUnavailable(f"The database cannot be cleaned up: {exc}")

    def _attempt(self, connection: sqlite3.Connection, jobs: list[_Job[Any]]) -> _Job[Any] | None:
        current: _Job[Any] | None = None
        changes, began_s = connection.total_changes, time.monotonic()
        try:
            connection.execute("BEGIN IMMEDIATE")
            for current in jobs:
                current.result = current.work(connection)
            current = None
            connection.execute("COMMIT")
        except Exception as exc:  # noqa: BLE001 - the writer thread's edge: it must outlive any job
            _roll_back(connection)
            if current is not None and not _is_breakdown(exc):
                current.error = exc
                return current
            self._say_failing(exc)
            self._on_commit(len(jobs), time.monotonic() - began_s, True)
            for job in jobs:
                job.error = StorageUnavailable(f"The database cannot be written: {exc}")
        else:
            # Reading goes on where a disk is full: that is no sign of its end.
            if connection.total_changes > changes:
                self._say_well()
                self._on_commit(len(jobs), time.monotonic() - began_s, False)
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

    def _lock_file(self) -> None:
        if self._lock is not None:
            self._lock.take()

    def _free_file(self) -> None:
        if self._lock is not None:
            self._lock.free()

    def _cannot_open(self, exc: Exception) -> CannotOpen:
        if isinstance(exc, CannotOpen):
            return exc
        reason = f"{exc.strerror} ({exc.filename})" if isinstance(exc, OSError) else str(exc)
        return CannotOpen(
            f"{self.path} cannot be used: {reason}. "
            "Set [storage] path to another file, in a folder that can be written."
        )


def _empty_journal(connection: sqlite3.Connection) -> bool:
    (timeout_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    # Whoever has to be waited for is waited for elsewhere: here, all commits would wait, too.
    connection.execute("PRAGMA busy_timeout=0")
    try:
        (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode != sqlite3.SQLITE_LOCKED:
            raise
        busy = True
    finally:
        connection.execute(f"PRAGMA busy_timeout={timeout_ms}")
    return not busy


def _compact(connection: sqlite3.Connection) -> None:
    connection.execute("VACUUM")


def _is_breakdown(exc: Exception) -> bool:
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF in BREAKDOWNS


def _roll_back(connection: sqlite3.Connection) -> None:
    # Where this fails too, the next BEGIN does, and it is tried again then.
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _resolve_opened(opened: asyncio.Future[None], error: CannotOpen | None) -> None:
    if opened.done():  # whoever waited was cancelled
        return
    if error is not None:
        opened.set_exception(error)
    else:
        opened.set_result(None)


def _resolve(group: list[_Job[Any]]) -> None:
    for job in group:
        if job.done.done():  # whoever waited was cancelled
            continue
        if job.error is not None:
            job.done.set_exception(job.error)
        else:
            job.done.set_result(job.result)
