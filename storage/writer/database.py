"""The database: one connection, used by one writer thread, with group commit.

All writes that were requested since the last commit go into the next one. Awaiting a write means
awaiting that commit: when it returns, the write is on disk.

A write is a function of the connection. It may run more than once before its commit succeeds (if
another write of the group failed, say), so it must keep no state of its own. Writes of the same
kind may be batched (`storage/writer/batching.py`).
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from functools import partial
from pathlib import Path
from typing import TypeVar

from storage.errors import CannotOpen, DatabaseInUse, StorageUnavailable
from storage.lock import Lock
from storage.wal.wal_file import checkpoint
from storage.writer.group_commit import GroupCommit, OnCommit
from storage.writer.opening import Durability, cannot_open, opened
from storage.writer.thread import WriterThread
from storage.writer.write_queue import GROUP_LIMIT, Writable, Write, WriteJob, WriteQueue

__all__ = ["GROUP_LIMIT", "Database", "Durability", "Write"]

log = logging.getLogger("rosey_llm.storage")
T = TypeVar("T")
BUSY_TIMEOUT_S = 5.0
LOCK_POLL_S = 0.1


class Database:
    """A SQLite file in WAL mode, or a database in memory if `path` is None.

    durability: "full" survives a power cut, "normal" a crash of the process.
    busy_timeout_s: how long a commit waits if another process has locked the file.
    backup_before_migration: copy a file of an older version before its schema is changed.
    own_checkpoints: if false, SQLite makes the checkpoints, within commits.
    command: the command that opens it to work and then to end, such as "history erase"; a service
        waits for it. "" for a service.
    on_commit: called in the writer thread with the number of writes in the commit, the seconds it
        took, and whether it failed.
    """

    def __init__(
        self,
        path: Path | None,
        durability: Durability = "full",
        *,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        own_checkpoints: bool = True,
        backup_before_migration: bool = True,
        command: str = "",
        on_commit: OnCommit = lambda writes, seconds, failed: None,
    ) -> None:
        self.path = path
        self._opening = partial(
            opened, path, durability, busy_timeout_s, own_checkpoints, backup_before_migration
        )
        self._commits = GroupCommit(path, on_commit)
        self._jobs = WriteQueue()
        self._thread: WriterThread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._lock = Lock(path, command) if path else None
        self._waits_for_commands = not command
        self._reserved = False

    @property
    def failing(self) -> str | None:
        """Why the latest commit failed; None if it succeeded."""
        return self._commits.failing

    async def reserve(self) -> None:
        """Lock the file for this process, before an `open` that may take long.

        A service waits for a command that erases and then ends. Raises CannotOpen, which says what
        to do.
        """
        waits = False
        while not self._reserved:
            try:
                self._lock_file()
                self._reserved = True
            except DatabaseInUse as exc:
                if not (exc.by_command and self._waits_for_commands):
                    raise
                if not waits:
                    log.warning(
                        "The start waits. %(error)s", {"event": "start.postponed", "error": exc}
                    )
                waits = True
                await asyncio.sleep(LOCK_POLL_S)
            except OSError as exc:
                raise self._cannot_open(exc) from exc

    def tell_end(self) -> None:
        """Tell other processes that this one is about to free the file."""
        if self._lock is not None:
            self._lock.tell_end()

    async def open(self) -> None:
        """Open the file, or raise CannotOpen, which says what to do."""
        self._loop = asyncio.get_running_loop()
        await self.reserve()
        self._reserved = False  # from here on the writer thread frees it
        ready: asyncio.Future[None] = self._loop.create_future()
        self._thread = WriterThread(
            self._opening(), self._jobs, self._commits, ready, self._free_file
        )
        self._thread.start()
        try:
            await ready
        except (sqlite3.Error, OSError, CannotOpen, UnicodeDecodeError) as exc:
            self._thread = None
            raise self._cannot_open(exc) from exc

    async def close(self) -> None:
        """Commit all waiting writes, then close. May be called twice."""
        # First of all: a write that is requested after the end would wait for ever.
        thread, self._thread = self._thread, None
        if thread is None:
            if self._reserved:
                self._reserved = False
                self._free_file()
            return
        jobs, self._jobs = self._jobs, WriteQueue()
        jobs.end()
        await asyncio.to_thread(thread.join)

    async def write(self, work: Writable[T]) -> T:
        """Run `work` in the next group commit; return once that commit is on disk.

        Raises StorageUnavailable if the commit failed: then nothing of it is in the database.
        """
        return await self.write_soon(work)

    def write_soon(self, work: Writable[T]) -> asyncio.Future[T]:
        """Do `write` in the order of the calls, without waiting; the future awaits the commit."""
        return self._enqueue(work)

    def write_at_leisure(self, work: Writable[T]) -> asyncio.Future[T]:
        """Do `write_soon` for a write that is not urgent, to save a commit of its own.

        It goes into the next commit, or into one of its own, two seconds later or at `close`.
        """
        return self._enqueue(work, at_leisure=True)

    async def truncate_wal(self) -> bool:
        """Copy all commits into the database file and truncate the WAL to no bytes.

        Return False if the WAL is being read; this does not wait for readers.
        """
        return await self._enqueue(_truncate_wal, alone=True)

    async def compact(self) -> None:
        """Rewrite the file without remains of deleted data.

        Commits wait meanwhile, about 14 s for 1 GB; it needs twice the file's size on the disk.
        Raises StorageUnavailable if there is no room; then nothing has changed.
        """
        await self._enqueue(_compact, alone=True)

    def _enqueue(
        self, work: Writable[T], *, alone: bool = False, at_leisure: bool = False
    ) -> asyncio.Future[T]:
        if self._thread is None:
            raise StorageUnavailable("The database is closed.")
        done: asyncio.Future[T] = self._loop.create_future()
        put = self._jobs.put_at_leisure if at_leisure else self._jobs.put
        put(WriteJob(work, done, alone=alone))
        return done

    def _lock_file(self) -> None:
        if self._lock is not None:
            self._lock.take()

    def _free_file(self) -> None:
        if self._lock is not None:
            self._lock.free()

    def _cannot_open(self, exc: Exception) -> CannotOpen:
        return exc if isinstance(exc, CannotOpen) else cannot_open(self.path, exc)


def _truncate_wal(connection: sqlite3.Connection) -> bool:
    return checkpoint(connection, "TRUNCATE") is not None


def _compact(connection: sqlite3.Connection) -> None:
    connection.execute("VACUUM")
