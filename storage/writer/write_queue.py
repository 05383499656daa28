"""What is asked to be written, on its way from the event loop to the writer's thread."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], T]
LEISURE_S = 0.1
GROUP_LIMIT = 512


@dataclass(slots=True)
class WriteJob(Generic[T]):
    """A write, and who waits for it. One that is `alone` is done outside of any transaction."""

    work: Write[T]
    done: asyncio.Future[T]
    result: T | None = None
    error: Exception | None = None
    alone: bool = False


class WriteQueue:
    """What one step of the loop has asked for is handed over at its end, all at once: the writer
    takes the interpreter's lock away from the loop each time that it is woken.

    There is no limit here: whoever asks waits for the commit, and of those there are so many.
    """

    def __init__(self) -> None:
        self._told: list[WriteJob[Any]] = []
        self._soon = False
        self._handed: queue.SimpleQueue[list[WriteJob[Any]] | None] = queue.SimpleQueue()
        self._taken: deque[WriteJob[Any]] = deque()
        self._ended = False

    # In the loop.

    def put(self, job: WriteJob[Any]) -> None:
        if not self._soon:
            self._soon = True
            job.done.get_loop().call_soon(self._hand_over)
        self._told.append(job)

    def put_at_leisure(self, job: WriteJob[Any]) -> None:
        """It goes with the next one that is put; where there is none, after a short while."""
        if not self._told:
            job.done.get_loop().call_later(LEISURE_S, self._hand_over)
        self._told.append(job)

    def end(self) -> None:
        """Nothing more will be put."""
        self._hand_over()
        self._handed.put(None)

    def _hand_over(self) -> None:
        told, self._told, self._soon = self._told, [], False
        if told:
            self._handed.put(told)

    # In the thread.

    def next_group(self, timeout_s: float | None = None) -> list[WriteJob[Any]] | None:
        """All that there is, up to a limit; [] where nothing came in time, None at the end."""
        try:
            while not (self._taken or self._ended):
                self._take(self._handed.get(timeout=timeout_s))
            while not self._ended:
                self._take(self._handed.get_nowait())
        except queue.Empty:
            pass
        if not self._taken:
            return None if self._ended else []
        return [self._taken.popleft() for _ in range(min(GROUP_LIMIT, len(self._taken)))]

    def _take(self, handed: list[WriteJob[Any]] | None) -> None:
        if handed is None:
            self._ended = True
        else:
            self._taken.extend(handed)
