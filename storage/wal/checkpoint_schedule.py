"""When the journal is brought into the database's file, and by whom.

SQLite would do it within a commit, each time that the journal has 4 MB, and that commit would take
ten to a hundred times as long. Here the writer's thread goes through these states:

growing   until the journal has 4 MB: nothing
due       the checkpointer is asked: in a thread of its own it brings most of the journal into the
          file, beside the commits, and syncs the file; then -> beside
beside    once the checkpointer rests, the writer does the rest, and the journal begins anew; then
          -> growing. Where it cannot, since somebody reads what stands in the journal, or the disk
          is full, nobody waits: -> due, after 4 MB more, or in a moment without work a second later

At 64 MB the commits wait for the checkpointer, and the journal is ended in any state.

The journal's file keeps its size: a commit that overwrites costs less than one that appends.
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
    """Of the writer, in whose thread it lives; `connection` is the writer's."""

    def __init__(self, connection: sqlite3.Connection, path: Path, wal: WalFile) -> None:
        self._connection = connection
        self._path = path
        self._wal = wal
        self._checkpointer = Checkpointer(path, wal)
        self._growing = True
        self._beside = False
        self._due_bytes = DUE_BYTES
        self._not_before_s = 0.0
        self._trouble: str | None = None

    def patience_s(self) -> float | None:
        """How long the writer may be idle before `idle` is to be called; None for any time."""
        return None if self._growing else max(IDLE_S, self._not_before_s - time.monotonic())

    def look(self) -> None:
        """After each commit."""
        try:
            if not self._wal.reaches(self._due_bytes):
                return
            full = self._wal.reaches(MOST_BYTES)
        except OSError as exc:
            self._say(f"cannot be measured: {exc}")
            # Better within commits than never.
            self._connection.execute("PRAGMA wal_autocheckpoint=1000")
            return
        self._growing = False
        if full:
            self._checkpointer.wait()
            self._end_journal()
        else:
            self._go_on()

    def idle(self) -> None:
        """In a moment without work."""
        self._go_on()

    def wait(self) -> None:
        """Until nobody but the writer is at work on the file."""
        self._checkpointer.wait()

    def close(self) -> None:
        """On return, nobody but the writer has the file open."""
        self._checkpointer.end()

    def _go_on(self) -> None:
        if not self._beside and self._ask():
            return
        if self._checkpointer.resting:
            self._end_journal()

    def _ask(self) -> bool:
        """False where there is no checkpointer: the writer then does all of it."""
        try:
            self._checkpointer.ask()
        except RuntimeError:  # no more threads
            return False
        self._beside = True
        return True

    def _end_journal(self) -> None:
        self._beside = False
        problem = self._checkpointer.problem
        try:
            ended = self._wal.end(self._connection)
        except (sqlite3.Error, OSError) as exc:
            ended, problem = False, exc
        if ended:
            self._growing = True
            self._due_bytes = DUE_BYTES
            self._say_well()
            return
        self._put_off()
        if problem is not None:
            self._say(f"cannot be brought into it: {problem}")
        elif self._due_bytes > MOST_BYTES:
            self._say("grows as long as somebody reads what stands in it.")

    def _put_off(self) -> None:
        """Each commit would try it again, otherwise."""
        self._not_before_s = time.monotonic() + PAUSE_S
        with contextlib.suppress(OSError):  # then `look` says so
            while self._wal.reaches(self._due_bytes):
                self._due_bytes += DUE_BYTES

    def _say(self, trouble: str) -> None:
        if self._trouble is None:
            log.error("The journal (-wal) of %s %s", self._path, trouble)
        self._trouble = trouble

    def _say_well(self) -> None:
        if self._trouble is not None:
            log.warning("The journal (-wal) of %s is in order again.", self._path)
            self._trouble = None
