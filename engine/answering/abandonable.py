"""Work that can be cut off, must end in time, and is left behind where it does neither."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger("rosey_llm.turn")
GRACE_S = 2.0


class WorkCancelled(Exception):
    """`cut` was called."""


class DeadlineExceeded(Exception):
    """The deadline passed."""


class AbandonableTask(Generic[T]):
    """Runs `work` in a task of its own.

    A task that does not heed its cancellation cannot be ended in Python; it is left behind, and
    nobody waits for it or takes what it brings.
    """

    def __init__(self, work: Coroutine[Any, Any, T], deadline_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(work)
        self._over = loop.create_future()
        self._task.add_done_callback(self._let_go)
        self._timer = loop.call_later(deadline_s, self._end, DeadlineExceeded)
        self._why: type[WorkCancelled | DeadlineExceeded] | None = None

    def cut(self) -> bool:
        """End the work; False where it has ended already."""
        if self._task.done():
            return False
        self._end(WorkCancelled)
        return True

    async def result(self) -> T:
        """What the work gives or raises; Cut or Overdue where it was ended."""
        ended = False
        try:
            await self._over
            ended = self._task.done()
        finally:
            self._timer.cancel()
            if not ended:
                # Reached on our own cancellation, too: the work must not outlive its turn.
                self._task.cancel()
                self._task.add_done_callback(_forget)
        if ended and not self._task.cancelled():
            return self._task.result()
        raise self._why or WorkCancelled

    def _end(self, why: type[WorkCancelled | DeadlineExceeded]) -> None:
        self._task.cancel()
        if self._why is not None:  # who asks again does not give it more time
            return
        self._why = why
        self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(GRACE_S, self._let_go)

    def _let_go(self, _: object = None) -> None:
        if not self._over.done():
            self._over.set_result(None)


def _forget(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (exc := task.exception()):
        log.debug("What was left behind ended with %r.", exc)
