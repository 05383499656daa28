"""Group commit: writes that were requested together are committed in one transaction."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from storage.errors import StorageUnavailable
from storage.full_disk import free_some_space, has_little_room
from storage.writer import batching
from storage.writer.batching import WriteBatch
from storage.writer.connection import WriterConnection
from storage.writer.write_queue import WriteJob

log = logging.getLogger("rosey_llm.storage")
OnCommit = Callable[[int, float, bool], None]
# Result codes for faults of the file or the machine. All others are faults of the statement.
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


class GroupCommit:
    """Commits groups of jobs, in the writer thread.

    on_commit: called with the number of jobs, the seconds it took, and whether it failed.
    failing: why the latest commit failed; None if it succeeded, and the disk has room again.
    """

    def __init__(self, path: Path | None, on_commit: OnCommit) -> None:
        self._path = path
        self._on_commit = on_commit
        self.failing: str | None = None
        self._was_full = False

    def make(self, connection: WriterConnection, jobs: Sequence[WriteJob[Any]]) -> None:
        """Commit all jobs, except those that fail by themselves."""
        done = not jobs or self._attempt(connection, jobs, batching.batches(jobs))
        while not done:
            jobs = [job for job in jobs if job.error is None]
            done = not jobs or self._attempt(connection, jobs, batching.one_by_one(jobs))

    def _attempt(
        self,
        connection: WriterConnection,
        jobs: Sequence[WriteJob[Any]],
        batches: Sequence[WriteBatch],
    ) -> bool:
        """Return False if a job failed; if it was alone in its batch, set its error."""
        changes, began_s = connection.total_changes, time.monotonic()
        batch: WriteBatch | None = None
        try:
            connection.begin()
            for batch in batches:
                batch.do(connection)
            batch = None
            connection.execute("COMMIT")
        except Exception as exc:  # noqa: BLE001 - the writer thread's edge: it must outlive any job
            # If this fails too, so does the next BEGIN, and it is tried again then.
            with contextlib.suppress(sqlite3.Error):
                connection.roll_back()
            if batch is not None and not _is_breakdown(exc):
                if len(batch.jobs) == 1:
                    batch.jobs[0].error = exc
                return False
            self._log_failure(exc)
            self._on_commit(len(jobs), time.monotonic() - began_s, True)
            for job in jobs:
                job.error = StorageUnavailable(f"Cannot write the database: {exc}")
        else:
            # Reading works even if the disk is full, so it does not show that writing works.
            if connection.total_changes > changes:
                self._log_recovery()
                self._on_commit(len(jobs), time.monotonic() - began_s, False)
        return True

    def _log_failure(self, exc: Exception) -> None:
        if self.failing is None:
            log.error(
                "Cannot write the database %(path)s: %(error)s. %(todo)s; it is tried again.",
                {
                    "event": "storage.write_failed",
                    "path": self._path,
                    "error": exc,
                    "todo": free_some_space(self._path, exc) or "Check the disk and the file",
                },
            )
        self.failing = str(exc)
        self._was_full = bool(free_some_space(self._path, exc)) and has_little_room(self._path)

    def _log_recovery(self) -> None:
        # A full disk still takes a write that fits into what the WAL has already.
        if self.failing is not None and not (self._was_full and has_little_room(self._path)):
            log.warning(
                "The database %(path)s can be written again.",
                {"event": "storage.write_recovered", "path": self._path},
            )
            self.failing = None


def _is_breakdown(exc: Exception) -> bool:
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF in BREAKDOWNS
