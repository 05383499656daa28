"""The ages of rows by the monotonic clock, which a wrong wall clock cannot change."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

DAY_S = 24 * 60 * 60.0


class SeenRows:
    """What this process has seen of a table's rows: its newest id at several moments.

    kept_days: the longest age that is asked for, unless a question names a longer one.
    """

    def __init__(self, monotonic_s: Callable[[], float], kept_days: int) -> None:
        self._monotonic_s = monotonic_s
        self._kept_days = kept_days
        # (time by the monotonic clock, newest row at that time), oldest first.
        self._seen: deque[tuple[float, int]] = deque()

    def look(self, newest: int) -> None:
        """Note the newest row now, so that later rows are known to be younger than this moment."""
        if self._seen and newest < self._seen[-1][1]:
            self._seen.clear()  # ids begin again once the table is empty
        if not self._seen or self._seen[-1][1] != newest:
            self._seen.append((self._monotonic_s(), newest))

    def newest_of_age(self, days: float, *, or_from_before: bool) -> int:
        """Return the newest row that this process has seen for so many days; 0 if there is none.

        or_from_before: rows from before the first look count as old enough, whatever their age.
        """
        now_s = self._monotonic_s()
        longest_s = now_s - max(days, self._kept_days) * DAY_S
        while len(self._seen) > 1 and self._seen[1][0] <= longest_s:
            self._seen.popleft()
        found = self._seen[0][1] if or_from_before and self._seen else 0
        for seen_s, newest in self._seen:
            if seen_s > now_s - days * DAY_S:
                break
            found = newest
        return found
