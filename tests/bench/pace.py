"""A schedule kept to a tenth of a millisecond, which an event loop's timers cannot do."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Sequence


def schedule(rate: float, seconds: float, seed: int) -> list[float]:
    """Return seconds from the start: one random moment in each interval of `1 / rate`.

    Even intervals would keep the same phase to other timers, which count in milliseconds.
    """
    chance = random.Random(seed)
    return [(number + chance.random()) / rate for number in range(round(rate * seconds))]


class Pace:
    """A clock that calls `act(number, due)` in the event loop for each moment of a schedule.

    due: when the call was due, by time.perf_counter, even if it comes late.
    """

    def __init__(self, moments: Sequence[float], act: Callable[[int, float], None]) -> None:
        self._moments = moments
        self._act = act
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._given_up = threading.Event()
        self.lateness_s: list[float] = []

    async def keep(self) -> None:
        """Return after the last moment. Raise what `act` raises."""
        began = time.perf_counter()
        thread = threading.Thread(target=self._run, args=(began,), daemon=True)
        thread.start()
        try:
            await self._done
        finally:
            self._given_up.set()
            thread.join()

    def _run(self, began: float) -> None:
        number, count = 0, len(self._moments)
        while number < count:
            wait_s = began + self._moments[number] - time.perf_counter()
            if self._given_up.wait(max(wait_s, 0)):
                return
            passed_s = time.perf_counter() - began
            end = number + 1
            while end < count and self._moments[end] <= passed_s:
                end += 1
            self._loop.call_soon_threadsafe(self._act_on, number, end, began)
            number = end
        self._loop.call_soon_threadsafe(self._end)

    def _act_on(self, number: int, end: int, began: float) -> None:
        try:
            for each in range(number, end):
                due = began + self._moments[each]
                self.lateness_s.append(time.perf_counter() - due)
                self._act(each, due)
        except Exception as exc:  # noqa: BLE001 - `keep` raises it
            if not self._done.done():
                self._done.set_exception(exc)

    def _end(self) -> None:
        if not self._done.done():
            self._done.set_result(None)
