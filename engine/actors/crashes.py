"""How an actor comes back after a crash: later each time, and after too many only after a rest."""

from __future__ import annotations

import random
import time
from collections import deque

TOO_MANY = 5
WITHIN_S = 60.0
REST_S = 60.0


class Crashes:
    """More than 5 crashes in 60 s suspend the actor; then it tries once more."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=TOO_MANY + 1)
        self._suspended_until = 0.0

    def add(self) -> float:
        """Note a crash; how many seconds to wait before the next attempt."""
        now = time.monotonic()
        self._times.append(now)
        if len(self._times) > TOO_MANY and now - self._times[0] <= WITHIN_S:
            self._suspended_until = now + REST_S
            return REST_S
        # Jitter, so that channels that crashed together do not come back together.
        return float(0.1 * 2 ** len(self._times) * random.uniform(0.75, 1.25))  # noqa: S311

    def clear(self) -> None:
        """A turn succeeded."""
        self._times.clear()
        self._suspended_until = 0.0

    def suspended_for_s(self) -> float:
        """Seconds until the next attempt of a suspended actor; 0.0 where it is not suspended."""
        return max(0.0, round(self._suspended_until - time.monotonic(), 1))
