"""Work that can be cut off, must end in time, and is left behind where it does neither."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger("rosey_llm.turn")
GRACE_S = 2.0


class Cut(Exception):
    """`cut` was called."""


class Overdue(Exception):
    """The deadline passed."""


class Fenced(Generic[T]):
    """Runs `work` in a task of its own.

    A task that does not heed its cancellation cannot be ended in Python; it is left behind, and
    nobody waits for it or takes what it brings.
    """

    def __init__(self, work: Coroutine[Any, Any, T], deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._task = asyncio.create_task(work)
        self._given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._cut = False

    def cut(self) -> bool:
        """End the work; False where it has ended already."""
        if self._task.done():
            return False
        self._cut = True
        self._end()
        return True

    async def result(self) -> T:
        """What the work gives or raises; Cut or Overdue where it was ended."""
        try:
            await self._first_of_both(self._deadline_s)
            overdue = not self._task.done() and not self._cut
            if overdue:
                self._end()
                await self._first_of_both(None)
        finally:
            self._leave()
        if self._task.done() and not self._task.cancelled():
            return self._task.result()
        raise Overdue if overdue else Cut

    async def _first_of_both(self, timeout_s: float | None) -> None:
        both: set[asyncio.Future[Any]] = {self._task, self._given_up}
        await asyncio.wait(both, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)

    def _end(self) -> None:
        self._task.cancel()
        asyncio.get_running_loop().call_later(GRACE_S, self._give_up)

    def _give_up(self) -> None:
        if not self._given_up.done():
            self._given_up.set_result(None)

    def _leave(self) -> None:
        self._give_up()
        if self._task.done():
            return
        # Reached on our own cancellation, too: the work must not outlive its turn.
        self._task.cancel()
        self._task.add_done_callback(_forget)


def _forget(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (exc := task.exception()):
        log.debug("What was left behind ended with %r.", exc)
