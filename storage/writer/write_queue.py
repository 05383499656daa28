"""The queue of writes, from the event loop to the writer thread."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)


class Record(Protocol[R_co]):
    """A write as a record: all records of one type in a group are applied together."""

    def apply_all(
        self, connection: sqlite3.Connection, records: Sequence[Any], /
    ) -> Sequence[R_co]:
        """Apply records of this type in their order; return a result for each."""


Write = Callable[[sqlite3.Connection], T]
Writable: TypeAlias = Write[T] | Record[T]
LEISURE_S = 2.0
GROUP_LIMIT = 512


@dataclass(slots=True)
class WriteJob(Generic[T]):
    """A write and the future of its result. If `alone`, it runs outside of any transaction."""

    work: Writable[T]
    done: asyncio.Future[T]
    result: T | None = None
    error: Exception | None = None
    alone: bool = False


class WriteQueue:
    """A queue that hands over all writes of one step of the event loop together, at its end.

    Each time the writer is woken, it takes the interpreter lock from the loop. The queue is
    unbounded, but each caller awaits its commit, so the number of callers limits it.
    """

    def __init__(self) -> None:
        self._pending: list[WriteJob[Any]] = []
        self._is_scheduled = False
        self._leisure: asyncio.TimerHandle | None = None
        self._handed_over: queue.SimpleQueue[list[WriteJob[Any]] | None] = queue.SimpleQueue()
        self._received: deque[WriteJob[Any]] = deque()
        self._ended = False

    # In the loop.

    def put(self, job: WriteJob[Any]) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            job.done.get_loop().call_soon(self._hand_over)
        self._pending.append(job)

    def put_at_leisure(self, job: WriteJob[Any]) -> None:
        """Queue a job that goes with the next one, or alone after LEISURE_S."""
        if not self._pending:
            self._leisure = job.done.get_loop().call_later(LEISURE_S, self._hand_over)
        self._pending.append(job)

    def end(self) -> None:
        """End the queue; nothing may be put after this."""
        self._hand_over()
        self._handed_over.put(None)

    def _hand_over(self) -> None:
        pending, self._pending, self._is_scheduled = self._pending, [], False
        if self._leisure is not None:  # else it would cut the leisure of later jobs short
            self._leisure.cancel()
            self._leisure = None
        if pending:
            self._handed_over.put(pending)

    # In the thread.

    def next_group(self, timeout_s: float | None = None) -> list[WriteJob[Any]] | None:
        """Return all jobs, GROUP_LIMIT at most; [] if there were none in time, None at the end."""
        try:
            while not (self._received or self._ended):
                self._receive(self._handed_over.get(timeout=timeout_s))
            while not self._ended:
                self._receive(self._handed_over.get_nowait())
        except queue.Empty:
            pass
        if not self._received:
            return None if self._ended else []
        return [self._received.popleft() for _ in range(min(GROUP_LIMIT, len(self._received)))]

    def _receive(self, handed: list[WriteJob[Any]] | None) -> None:
        if handed is None:
            self._ended = True
        else:
            self._received.extend(handed)
