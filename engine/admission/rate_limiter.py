"""A rate limit for many senders, each with a token bucket of its own, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

LOOK_AT = 8


class RateLimiter:
    """Lets each key pass `limit` times in `period_s` seconds, all at once or spread out.

    A bucket is kept as one number, the time at which it is full again (the generic cell rate
    algorithm). Beyond `most` buckets, the one that was used least recently is dropped, full or not:
    a sender who can have so many names gains nothing by it.
    """

    def __init__(
        self, limit: int, period_s: float, clock: Callable[[], float], most: int = 100_000
    ) -> None:
        self.limit = limit
        self.period_s = period_s
        self._clock = clock
        self._most = most
        self._token_s = period_s / limit
        self._full_s: dict[str, float] = {}  # the least recently used first

    def __len__(self) -> int:
        return len(self._full_s)

    def wait_s(self, key: str) -> float:
        """Return how long this key must wait for a token; 0.0 if it has one."""
        missing_s = self._full_s.get(key, 0.0) - self._clock()
        return max(0.0, missing_s + self._token_s - self.period_s)

    def take(self, key: str) -> None:
        """Take a token of this key, which has one."""
        now_s = self._clock()
        full_s = max(self._full_s.pop(key, 0.0), now_s) + self._token_s
        if len(self._full_s) >= self._most:
            self._make_room(now_s)
        self._full_s[key] = full_s

    def give_back(self, key: str) -> None:
        """Give back a token that was taken for nothing."""
        if key in self._full_s:
            self._full_s[key] -= self._token_s

    def left(self, key: str) -> int:
        """Return how many tokens this key has."""
        missing_s = max(0.0, self._full_s.get(key, 0.0) - self._clock())
        return int((self.period_s - missing_s) / self._token_s + 1e-9)

    def _make_room(self, now_s: float) -> None:
        """Drop the oldest bucket, and some full ones behind it; never reads all of them."""
        oldest = [key for key, _ in zip(self._full_s, range(LOOK_AT), strict=False)]
        for number, key in enumerate(oldest):
            if number == 0 or self._full_s[key] <= now_s:
                del self._full_s[key]
