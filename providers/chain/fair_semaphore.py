"""A semaphore that limits the calls to a provider at once and lets waiting channels take turns."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FairSemaphoreStatistics:
    limit: int
    running: int
    waiting: int


class FairSemaphore:
    """A semaphore with `limit` slots. Each caller that takes a slot must free it.

    The waiting channels get free slots in turn, one each, so a channel with a hundred waiting
    calls does not hold up another one. The caller must limit the number of waiting calls.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._running = 0
        # While calls wait, every slot is taken: `free` passes the slot to one of them, unless there
        # are fewer slots by now.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def resize(self, limit: int) -> None:
        """Change the number of slots. Calls that have one keep it, also if there are fewer now."""
        self.limit = limit
        while self._waiting and self._running < limit:
            self._running += 1
            self.free()

    def take_free(self) -> bool:
        """Take a slot if one is free, and return whether it was."""
        if self._running >= self.limit:
            return False
        self._running += 1
        return True

    async def take(self, channel: str) -> None:
        """Take a slot; wait until one is free. A caller that is cancelled has no slot."""
        if self.take_free():
            return
        granted = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(channel, deque()).append(granted)
        try:
            await granted
        except asyncio.CancelledError:
            if granted.cancelled():
                self._forget(channel, granted)
            else:
                # The slot was granted just before the cancellation: pass it on.
                self.free()
            raise

    def free(self) -> None:
        """Pass the slot to the next waiting call, if there is one."""
        while self._waiting and self._running <= self.limit:
            channel, calls = self._waiting.popitem(last=False)
            granted = calls.popleft()
            if calls:
                self._waiting[channel] = calls
            if not granted.done():
                granted.set_result(None)
                return
        self._running -= 1

    def statistics(self) -> FairSemaphoreStatistics:
        waiting = sum(len(calls) for calls in self._waiting.values())
        return FairSemaphoreStatistics(self.limit, self._running, waiting)

    def _forget(self, channel: str, granted: asyncio.Future[None]) -> None:
        calls = self._waiting.get(channel)
        if calls is None or granted not in calls:
            return
        calls.remove(granted)
        if not calls:
            del self._waiting[channel]
