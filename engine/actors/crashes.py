"""How an actor comes back after a crash: later each time, and after too many only after a rest."""

from __future__ import annotations

import random
import time
from collections import deque

TOO_MANY = 5
WITHIN_S = 60.0
REST_S = 60.0  # a wall clock that is set back cannot make it longer than this


class Crashes:
    """More than 5 crashes in 60 s suspend the actor; then it tries once more.

    `suspended_until_ms` is wall-clock time, so that it means the same after a restart.
    """

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=TOO_MANY + 1)
        self.suspended_until_ms = 0

    def add(self) -> float:
        """Note a crash; how many seconds to wait before the next attempt."""
        now = time.monotonic()
        self._times.append(now)
        # One that failed in its trial after a suspension rests again at once.
        too_many = len(self._times) > TOO_MANY and now - self._times[0] <= WITHIN_S
        if too_many or self.suspended_until_ms:
            self.suspended_until_ms = round((time.time() + REST_S) * 1000)
            return REST_S
        # Jitter, so that channels that crashed together do not come back together.
        return float(0.05 * 2 ** len(self._times) * random.uniform(0.75, 1.25))  # noqa: S311

    def suspended_for_s(self) -> float:
        """Seconds until the next attempt of a suspended actor; 0.0 where it is not suspended."""
        return min(REST_S, max(0.0, round(self.suspended_until_ms / 1000 - time.time(), 1)))
