"""Time limits for all that is waited for of one provider, at the price of one timer.

`asyncio.timeout` makes and cancels a timer for each wait, which costs more than it does to read a
piece of a token stream. Nearly every wait ends in time, so here one timer is set for the nearest
limit, and only when it rings it looks who still waits.
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Any, Self


class SharedTimeout:
    """`with patience.within(5.0): await ...` raises TimeoutError where that takes longer."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waits: set[Wait] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_s = math.inf

    def within(self, limit_s: float) -> Wait:
        loop = self._loop
        # Before Python 3.12 it takes a call into the kernel to learn which loop is running.
        if loop is None or loop.is_closed():
            loop = self._loop = asyncio.get_running_loop()
            # The timer of a loop that has ended never rings.
            self._timer, self._rings_s, self._waits = None, math.inf, set()
        return Wait(self, loop, limit_s)

    def begin(self, wait: Wait) -> None:
        self._waits.add(wait)
        if wait.until_s < self._rings_s:
            if self._timer is not None:
                self._timer.cancel()
            self._set(wait.until_s)

    def end(self, wait: Wait) -> None:
        self._waits.discard(wait)

    def _set(self, when_s: float) -> None:
        assert self._loop is not None  # noqa: S101 -- `within` comes first
        self._rings_s = when_s
        self._timer = self._loop.call_at(when_s, self._ring)

    def _ring(self) -> None:
        rang_s, self._rings_s, self._timer = self._rings_s, math.inf, None
        for wait in [wait for wait in self._waits if wait.until_s <= rang_s]:
            self._waits.discard(wait)
            wait.expire()
        if self._waits:
            self._set(min(wait.until_s for wait in self._waits))


class Wait:
    """One wait of the task that enters it. `expired` tells whether it took too long, `cancelled`,
    once it is over, whether somebody has cancelled the task.

    Stricter than `asyncio.timeout` in one thing: a cancellation of the task by somebody else comes
    out of it, whatever became of it within.
    """

    __slots__ = (
        "_cancels",
        "_loop",
        "_shared_timeout",
        "_task",
        "cancelled",
        "expired",
        "until_s",
    )

    def __init__(
        self, shared_timeout: SharedTimeout, loop: asyncio.AbstractEventLoop, limit_s: float
    ) -> None:
        self.until_s = loop.time() + limit_s
        self.expired = self.cancelled = False
        self._shared_timeout = shared_timeout
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self._cancels = 0

    def expire(self) -> None:
        assert self._task is not None  # noqa: S101 -- only who has entered waits
        self.expired = True
        self._task.cancel()

    def __enter__(self) -> Self:
        task = self._task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101 -- only a task can be told to stop waiting
        self._cancels = task.cancelling()
        self._shared_timeout.begin(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task = self._task
        assert task is not None  # noqa: S101 -- `__enter__` comes first
        self._shared_timeout.end(self)
        cancels = task.uncancel() if self.expired else task.cancelling()
        self.cancelled = cancels > 0
        if cancels > self._cancels:
            if exc is None or isinstance(exc, Exception):
                raise asyncio.CancelledError
        elif self.expired and isinstance(exc, asyncio.CancelledError):
            raise TimeoutError from exc
