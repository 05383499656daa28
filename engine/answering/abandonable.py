"""A task with a deadline that can be cancelled, and is abandoned if it ignores both."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger("rosey_llm.turn")
GRACE_S = 2.0


class WorkCancelled(Exception):
    """The work was ended by `cut`."""


class DeadlineExceeded(Exception):
    """The work did not end before its deadline."""


class AbandonableTask(Generic[T]):
    """A task that runs `work` and is cancelled by `cut`, or after `deadline_s` seconds.

    Python cannot end a task that ignores its cancellation. GRACE_S seconds later such a task is
    abandoned: nothing waits for it, and its result is dropped.
    """

    def __init__(self, work: Coroutine[Any, Any, T], deadline_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(work)
        self._released = loop.create_future()
        self._task.add_done_callback(self._release)
        self._timer = loop.call_later(deadline_s, self._end, DeadlineExceeded)
        self._reason: type[WorkCancelled | DeadlineExceeded] | None = None

    def cut(self) -> bool:
        """Cancel the work; return False if it has ended already."""
        if self._task.done():
            return False
        self._end(WorkCancelled)
        return True

    async def result(self) -> T:
        """Return what the work returns, or raise what it raises.

        Raises WorkCancelled after `cut`, DeadlineExceeded after the deadline.
        """
        ended = False
        try:
            await self._released
            ended = self._task.done()
        finally:
            self._timer.cancel()
            if not ended:
                # Also reached when this coroutine is cancelled: the work must not outlive its turn.
                self._task.cancel()
                self._task.add_done_callback(_log_failure)
        if ended and not self._task.cancelled():
            return self._task.result()
        raise self._reason or WorkCancelled

    def _end(self, reason: type[WorkCancelled | DeadlineExceeded]) -> None:
        self._task.cancel()
        if self._reason is not None:  # a second call must not restart the grace period
            return
        self._reason = reason
        self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(GRACE_S, self._release)

    def _release(self, _: object = None) -> None:
        if not self._released.done():
            self._released.set_result(None)


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (exc := task.exception()):
        log.debug(
            "An abandoned task failed: %(error)s",
            {"event": "turn.remainder_failed", "error": type(exc).__name__},
        )
