"""When the journal is brought into the database's file, and by whom.

SQLite would do it within a commit, each time that the journal has 4 MB, and that commit would take
ten to a hundred times as long. Here, from that size on:

- Another thread does most of it beside the commits, and syncs the file; then the writer only has to
  do the rest, and the journal begins anew. So it does where nothing is asked of the writer for a
  moment.
- At 64 MB the commits wait for it.

The journal's file keeps its size: a commit that overwrites costs less than one that appends.

Whoever reads what stands in the journal keeps it from beginning anew, and nobody waits for them.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path

from storage.checkpointer import Checkpointer
from storage.journal import Journal, checkpoint

log = logging.getLogger("rosey_llm.storage")
DUE_BYTES = 4 * 1024 * 1024
MOST_BYTES = 64 * 1024 * 1024
IDLE_S = 0.05
PAUSE_S = 1.0


class Checkpoints:
    """Of the writer, in whose thread it lives; `connection` is the writer's."""

    def __init__(self, connection: sqlite3.Connection, path: Path, journal: Journal) -> None:
        self._connection = connection
        self._path = path
        self._journal = journal
        self._beside = Checkpointer(path, journal)
        self._begun = False
        self._next_bytes = DUE_BYTES
        self._pending = False
        self._not_before_s = 0.0
        self._trouble: str | None = None

    def patience_s(self) -> float | None:
        """How long the writer may be idle before `idle` is to be called; None for any time."""
        return max(IDLE_S, self._not_before_s - time.monotonic()) if self._pending else None

    def look(self) -> None:
        """After each commit."""
        try:
            size_bytes = self._journal.size_bytes()
        except OSError as exc:
            self._say(f"cannot be measured: {exc}")
            return
        if size_bytes < self._next_bytes:
            return
        self._pending = True
        if size_bytes >= MOST_BYTES:
            self._beside.wait()
            self._end_journal(size_bytes)
        elif not self._begun:
            self._begin_beside()
        elif self._beside.resting:
            self._end_journal(size_bytes)

    def idle(self) -> None:
        if not self._begun:
            self._begin_beside()
        elif self._beside.resting and self._end_journal(0):
            self._pending = False

    def wait(self) -> None:
        """Until nobody but the writer is at work on the file."""
        self._beside.wait()

    def close(self) -> None:
        """On return, nobody but the writer has the file open."""
        self._beside.end()

    def _begin_beside(self) -> None:
        try:
            if not self._beside.is_alive():
                self._beside.start()
        except RuntimeError as exc:  # no more threads
            self._say(f"cannot be brought into it: {exc}")
            return
        self._begun = True
        self._beside.ask()

    def _end_journal(self, size_bytes: int) -> bool:
        """The writer's part. Where it cannot be done, all begins again after the next 4 MB."""
        self._begun = False
        problem = self._beside.problem
        try:
            done = checkpoint(self._connection, "RESTART")
        except sqlite3.Error as exc:
            done, problem = False, exc
        if done:
            self._next_bytes = DUE_BYTES
            self._say_well()
            return True
        self._next_bytes = max(self._next_bytes, size_bytes + DUE_BYTES)
        self._not_before_s = time.monotonic() + PAUSE_S
        if problem is not None:
            self._say(f"cannot be brought into it: {problem}")
        elif size_bytes >= MOST_BYTES:
            self._say("grows as long as somebody reads what stands in it.")
        return False

    def _say(self, trouble: str) -> None:
        if self._trouble is None:
            log.error("The journal (-wal) of %s %s", self._path, trouble)
        self._trouble = trouble

    def _say_well(self) -> None:
        if self._trouble is not None:
            log.warning("The journal (-wal) of %s is in order again.", self._path)
            self._trouble = None
