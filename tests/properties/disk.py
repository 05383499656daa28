"""The disk of the property test: writes wait until the test lets them be committed."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from typing import Any, NoReturn

from tests.support.patience import WAIT_S


class Disk:
    """A replacement for the writer thread's queue that lets jobs through in groups.

    `commit` returns when the thread has done them, so that no thread's speed matters; their results
    are then ready for the loop.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Any] = deque()
        self._allowed = 0
        self._idle = False
        self._killed = self._ended = False

    # Called by the test.

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def commit(self, jobs: int, *, full: bool = False) -> bool:
        """Let the oldest `jobs` be one group; with `full` it fails. False if no job waits."""
        with self._changed:
            self._allowed = min(jobs, len(self._waiting))
            if not self._allowed:
                return False
            if full:
                self._waiting[0].work = _no_room
            self._changed.notify_all()
            if not self._changed.wait_for(self._thread_waits, WAIT_S):
                raise RuntimeError("the writer thread does not return")
        return True

    def wait_until_open(self) -> bool:
        """Wait until the thread has opened the file and asks for work."""
        with self._changed:
            return self._changed.wait_for(self._thread_waits, WAIT_S)

    def kill(self) -> None:
        """Simulate the death of the process: nothing more is committed, and the thread ends."""
        with self._changed:
            self._killed = True
            self._waiting.clear()
            self._changed.notify_all()

    # Called by the Database: `put` and `end` in the loop, `next_group` in its thread.

    def put(self, job: Any) -> None:
        with self._changed:
            if not self._killed:
                self._waiting.append(job)

    def end(self) -> None:
        """End the thread after all jobs that wait now."""
        with self._changed:
            self._ended = True
            self._allowed = len(self._waiting)
            self._changed.notify_all()

    def next_group(self, timeout_s: float | None = None) -> list[Any] | None:
        with self._changed:
            self._idle = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._allowed or self._killed or self._ended)
            self._idle = False
            if self._killed or not self._allowed:
                return None
            group = [self._waiting.popleft() for _ in range(self._allowed)]
            self._allowed = 0
            return group

    def _thread_waits(self) -> bool:
        return self._idle and not self._allowed


def _no_room(_: sqlite3.Connection) -> NoReturn:
    exc = sqlite3.OperationalError("database or disk is full")
    exc.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise exc
