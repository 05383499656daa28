"""The disk, as the test has it: what is to be written waits until the test lets it be committed."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from typing import Any, NoReturn

LIMIT_S = 20.0


class Disk:
    """Stands where the writer thread's queue stands, and lets jobs through in groups.

    `commit` returns when the thread has done them, so no thread's speed decides anything; their
    results are then ready for the loop.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: deque[Any] = deque()
        self._let = 0
        self._idle = False
        self._lost = self._ended = False

    # For the test.

    @property
    def held(self) -> int:
        return len(self._held)

    def commit(self, jobs: int, *, full: bool = False) -> bool:
        """Let the oldest `jobs` be one group; with `full` it fails. False where none waits."""
        with self._changed:
            self._let = min(jobs, len(self._held))
            if not self._let:
                return False
            if full:
                self._held[0].work = _no_room
            self._changed.notify_all()
            if not self._changed.wait_for(self._thread_waits, LIMIT_S):
                raise RuntimeError("the writer thread does not come back")
        return True

    def opened(self) -> bool:
        """Wait until the thread has opened the file and asks for work."""
        with self._changed:
            return self._changed.wait_for(self._thread_waits, LIMIT_S)

    def lose(self) -> None:
        """The process dies: nothing more is committed, and the thread ends."""
        with self._changed:
            self._lost = True
            self._held.clear()
            self._changed.notify_all()

    # What the Database calls: `put` and `end` in the loop, the rest in its thread.

    def put(self, job: Any) -> None:
        with self._changed:
            if not self._lost:
                self._held.append(job)

    def end(self) -> None:
        """With all that stands before it."""
        with self._changed:
            self._ended = True
            self._let = len(self._held)
            self._changed.notify_all()

    def next_group(self, timeout_s: float | None = None) -> list[Any] | None:
        with self._changed:
            self._idle = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._let or self._lost or self._ended)
            self._idle = False
            if self._lost or not self._let:
                return None
            group = [self._held.popleft() for _ in range(self._let)]
            self._let = 0
            return group

    def _thread_waits(self) -> bool:
        return self._idle and not self._let


def _no_room(_: sqlite3.Connection) -> NoReturn:
    exc = sqlite3.OperationalError("database or disk is full")
    exc.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise exc
