"""Time limits for all waits for a provider, with a single timer.

`asyncio.timeout` creates and cancels a timer for each wait, which costs more than reading a piece
of a token stream. Nearly every wait ends in time. So here one timer is set for the earliest limit,
and the waits are checked only when it fires.
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Any, Self


class SharedTimeout:
    """A timer that many waits share.

    `with shared_timeout.within(5.0): await ...` raises TimeoutError if it takes longer.

    waits: those that have begun and not ended. fires_at_s: when they are looked at next.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self.waits: set[Wait] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.fires_at_s = math.inf

    def within(self, limit_s: float) -> Wait:
        loop = self._loop
        # Cached: before Python 3.12, `get_running_loop` makes a system call.
        if loop is None or loop.is_closed():
            loop = self._loop = asyncio.get_running_loop()
            # The timer of a closed loop never fires.
            self._timer, self.fires_at_s, self.waits = None, math.inf, set()
        return Wait(self, loop, limit_s)

    def fire_at(self, when_s: float) -> None:
        """Set the timer to an earlier time."""
        if self._timer is not None:
            self._timer.cancel()
        self._set_timer(when_s)

    def _set_timer(self, when_s: float) -> None:
        assert self._loop is not None  # noqa: S101 -- `within` comes first
        self.fires_at_s = when_s
        self._timer = self._loop.call_at(when_s, self._expire_due)

    def _expire_due(self) -> None:
        fired_at_s, self.fires_at_s, self._timer = self.fires_at_s, math.inf, None
        for wait in [wait for wait in self.waits if wait.until_s <= fired_at_s]:
            self.waits.discard(wait)
            wait.expire()
        if self.waits:
            self._set_timer(min(wait.until_s for wait in self.waits))


class Wait:
    """A context manager that limits the time of one wait.

    expired: whether the wait took too long.
    cancelled: after the wait, whether the task was cancelled from outside.

    Stricter than `asyncio.timeout`: a cancellation from outside is always raised, even if the code
    within suppressed it.
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
        assert self._task is not None  # noqa: S101 -- `__enter__` comes first
        self.expired = True
        self._task.cancel()

    def __enter__(self) -> Self:
        task = self._task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101 -- only a task can be cancelled
        self._cancels = task.cancelling()
        # Not by methods of the shared timeout: each piece of a token stream is a wait.
        shared_timeout = self._shared_timeout
        shared_timeout.waits.add(self)
        if self.until_s < shared_timeout.fires_at_s:
            shared_timeout.fire_at(self.until_s)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task = self._task
        assert task is not None  # noqa: S101 -- `__enter__` comes first
        self._shared_timeout.waits.discard(self)
        cancels = task.uncancel() if self.expired else task.cancelling()
        self.cancelled = cancels > 0
        if cancels > self._cancels:
            if exc is None or isinstance(exc, Exception):
                raise asyncio.CancelledError
        elif self.expired and isinstance(exc, asyncio.CancelledError):
            raise TimeoutError from exc
