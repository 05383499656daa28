"""The schedule of checkpoints: when the WAL is copied into the database file, by which thread.

SQLite would do it within a commit, whenever the WAL has 4 MB, and that commit would take ten to a
hundred times as long. Here the writer thread goes through these states:

growing   until the WAL has 4 MB: nothing is done
due       the checkpointer is asked to copy most of the WAL into the database file, and to sync the
          file, in a thread of its own beside the commits; then -> copying
copying   when the checkpointer is idle, the writer copies the rest, and the WAL restarts at its
          beginning; then -> growing. If it cannot, since the WAL is being read or the disk is
          full, nothing waits: -> due, after 4 MB more, or when there is no work a second later

At 64 MB, commits wait for the checkpointer, and the WAL is restarted in any state.

The WAL file keeps its size: overwriting costs a commit less than appending. Compared with SQLite's
own checkpoints in docs/performance.md, `checkpoints`.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from pathlib import Path

from storage.wal.checkpointer import Checkpointer
from storage.wal.wal_file import WalFile

log = logging.getLogger("rosey_llm.storage")
DUE_BYTES = 4 * 1024 * 1024
MOST_BYTES = 64 * 1024 * 1024
IDLE_S = 0.05
PAUSE_S = 1.0


class CheckpointSchedule:
    """A schedule of checkpoints, used by the writer thread only; `connection` is the writer's."""

    def __init__(self, connection: sqlite3.Connection, path: Path, wal: WalFile) -> None:
        self._connection = connection
        self._path = path
        self._wal = wal
        self._checkpointer = Checkpointer(path, wal)
        self._growing = True
        self._copying = False
        self._due_bytes = DUE_BYTES
        self._not_before_s = 0.0
        self._trouble: str | None = None

    def patience_s(self) -> float | None:
        """Return after how long without work to call `idle`; None for never."""
        return None if self._growing else max(IDLE_S, self._not_before_s - time.monotonic())

    def after_commit(self) -> None:
        """Call this after each commit."""
        try:
            if not self._wal.reaches(self._due_bytes):
                return
            full = self._wal.reaches(MOST_BYTES)
        except OSError as exc:
            self._log_trouble(
                f"Cannot measure the WAL of {self._path}: {exc}. SQLite makes the checkpoints."
            )
            # Better within commits than never.
            self._connection.execute("PRAGMA wal_autocheckpoint=1000")
            return
        self._growing = False
        if full:
            self._checkpointer.wait()
            self._restart_wal()
        else:
            self._continue()

    def idle(self) -> None:
        """Call this when there is no work."""
        self._continue()

    def wait(self) -> None:
        """Wait until only the writer works on the file."""
        self._checkpointer.wait()

    def close(self) -> None:
        """End the checkpointer; on return, only the writer has the file open."""
        self._checkpointer.end()

    def _continue(self) -> None:
        if not self._copying and self._start_copying():
            return
        if self._checkpointer.is_idle:
            self._restart_wal()

    def _start_copying(self) -> bool:
        """Return False if there is no checkpointer: the writer then does all the work."""
        try:
            self._checkpointer.request()
        except RuntimeError:  # no more threads
            return False
        self._copying = True
        return True

    def _restart_wal(self) -> None:
        self._copying = False
        problem = self._checkpointer.problem
        try:
            restarted = self._wal.restart(self._connection)
        except (sqlite3.Error, OSError) as exc:
            restarted, problem = False, exc
        if restarted:
            self._growing = True
            self._due_bytes = DUE_BYTES
            self._log_recovery()
            return
        self._postpone()
        if problem is not None:
            self._log_trouble(
                f"Cannot copy the WAL of {self._path} into the database: {problem}."
                " Check the disk; it is tried again."
            )
        elif self._due_bytes > MOST_BYTES:
            self._log_trouble(
                f"The WAL of {self._path} grows as long as it is being read."
                " End long reads of the database."
            )

    def _postpone(self) -> None:
        """Set when to try again: otherwise each commit would."""
        self._not_before_s = time.monotonic() + PAUSE_S
        with contextlib.suppress(OSError):  # then `after_commit` logs it
            while self._wal.reaches(self._due_bytes):
                self._due_bytes += DUE_BYTES

    def _log_trouble(self, trouble: str) -> None:
        if self._trouble is None:
            log.error("%(error)s", {"event": "storage.checkpoint_failed", "error": trouble})
        self._trouble = trouble

    def _log_recovery(self) -> None:
        if self._trouble is not None:
            log.warning(
                "The WAL of %(path)s is in order again.",
                {"event": "storage.checkpoint_recovered", "path": self._path},
            )
            self._trouble = None
