"""How many calls a provider gets at once, and who is next."""

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
    """`limit` places, first come, first served by channel; who takes one frees it again.

    Places that come free go round the waiting channels, one each, so that a channel with a hundred
    waiting calls does not hold up another. The count of waiting calls is bounded by the caller.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running = 0
        # While anybody waits, every place is taken: a freed place is handed on, never put back.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def take_free(self) -> bool:
        """Take a place where one is free."""
        if self._running == self._limit:
            return False
        self._running += 1
        return True

    async def take(self, channel: str) -> None:
        """Wait for a place; one that is cancelled has none."""
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
                # Granted and cancelled in the same breath: the place is ours to hand on.
                self.free()
            raise

    def free(self) -> None:
        while self._waiting:
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
        return FairSemaphoreStatistics(self._limit, self._running, waiting)

    def _forget(self, channel: str, granted: asyncio.Future[None]) -> None:
        calls = self._waiting.get(channel)
        if calls is None or granted not in calls:
            return
        calls.remove(granted)
        if not calls:
            del self._waiting[channel]
