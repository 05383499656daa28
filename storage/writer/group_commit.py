"""Group commit: what was asked for together is written in one transaction."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from storage.errors import StorageUnavailable
from storage.writer import batching
from storage.writer.batching import WriteBatch
from storage.writer.connection import WriterConnection
from storage.writer.write_queue import WriteJob

log = logging.getLogger("rosey_llm.storage")
OnCommit = Callable[[int, float, bool], None]
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


class GroupCommit:
    """Made in the writer's thread. `failing` says why the latest one failed, None where it did not.

    `on_commit` is called with how many writes were tried together, for how many seconds, and
    whether that failed.
    """

    def __init__(self, path: Path | None, on_commit: OnCommit) -> None:
        self._path = path
        self._on_commit = on_commit
        self.failing: str | None = None

    def make(self, connection: WriterConnection, jobs: Sequence[WriteJob[Any]]) -> None:
        """Commit all of it; a job with a fault of its own is left out, and only that one."""
        done = not jobs or self._attempt(connection, jobs, batching.batches(jobs))
        while not done:
            jobs = [job for job in jobs if job.error is None]
            done = not jobs or self._attempt(connection, jobs, batching.one_by_one(jobs))

    def _attempt(
        self,
        connection: WriterConnection,
        jobs: Sequence[WriteJob[Any]],
        steps: Sequence[WriteBatch],
    ) -> bool:
        """False where there was a fault; where it was a single job's, that has it as its error."""
        changes, began_s = connection.total_changes, time.monotonic()
        step: WriteBatch | None = None
        try:
            connection.begin()
            for step in steps:
                step.do(connection)
            step = None
            connection.execute("COMMIT")
        except Exception as exc:  # noqa: BLE001 - the writer thread's edge: it must outlive any job
            # Where this fails too, the next BEGIN does, and it is tried again then.
            with contextlib.suppress(sqlite3.Error):
                connection.roll_back()
            if step is not None and not _is_breakdown(exc):
                if len(step.jobs) == 1:
                    step.jobs[0].error = exc
                return False
            self._say_failing(exc)
            self._on_commit(len(jobs), time.monotonic() - began_s, True)
            for job in jobs:
                job.error = StorageUnavailable(f"The database cannot be written: {exc}")
        else:
            # Reading goes on where a disk is full: that is no sign of its end.
            if connection.total_changes > changes:
                self._say_well()
                self._on_commit(len(jobs), time.monotonic() - began_s, False)
        return True

    def _say_failing(self, exc: Exception) -> None:
        if self.failing is None:
            log.error("The database %s cannot be written: %s", self._path, exc)
        self.failing = str(exc)

    def _say_well(self) -> None:
        if self.failing is not None:
            log.warning("The database %s can be written again.", self._path)
            self.failing = None


def _is_breakdown(exc: Exception) -> bool:
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF in BREAKDOWNS
