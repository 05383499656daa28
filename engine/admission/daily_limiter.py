"""A limit by calendar day, with a count for each sender, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.accounting.days import Days


class DailyLimiter:
    """Lets each key pass `limit` times a day; each day, all counts start again.

    days: by whose zone a day ends. wall_ms: the wall clock. Beyond `most` keys, the one that passed
    least recently is forgotten.
    """

    def __init__(
        self, limit: int, days: Days, wall_ms: Callable[[], int], most: int = 100_000
    ) -> None:
        self.limit = limit
        self.days = days
        self._wall_ms = wall_ms
        self._most = most
        self._day = days.of(wall_ms())
        self._counts: dict[str, int] = {}  # the one that passed least recently first

    def load(self, counts: Mapping[str, int]) -> None:
        """Note what passed today before this limiter was there."""
        for key, count in counts.items():
            self._counts[key] = max(count, self._counts.get(key, 0))

    def wait_s(self, key: str) -> float:
        """Return how long this key must wait: to the end of the day, or 0.0."""
        now_ms = self._turn_page()
        if self._counts.get(key, 0) < self.limit:
            return 0.0
        return (self.days.begins_ms(self._day + 1) - now_ms) / 1000

    def take(self, key: str) -> None:
        self._turn_page()
        self._counts[key] = self._counts.pop(key, 0) + 1
        if len(self._counts) > self._most:
            del self._counts[next(iter(self._counts))]

    def give_back(self, key: str) -> None:
        if self._counts.get(key):
            self._counts[key] -= 1

    def _turn_page(self) -> int:
        """Forget the counts of another day, also after a clock was set back; return the time."""
        now_ms = self._wall_ms()
        if (day := self.days.of(now_ms)) != self._day:
            self._day, self._counts = day, {}
        return now_ms
