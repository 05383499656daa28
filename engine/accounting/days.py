"""Days in the operator's time zone, as numbers that grow by one."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from engine.clock import zone_of

EPOCH = date(1970, 1, 1)


class Days:
    """The days of a time zone. The last one asked for is kept: nearly all questions are of today.

    A day is the number of days since 1970-01-01, both as the zone's calendars name them.
    """

    def __init__(self, timezone: str) -> None:
        self.zone = zone_of(timezone)
        self._day = 0
        self._from_ms = self._until_ms = 0

    def of(self, wall_ms: int) -> int:
        """Return the day of a wall-clock time."""
        if not self._from_ms <= wall_ms < self._until_ms:
            at = datetime.fromtimestamp(wall_ms / 1000, self.zone)
            self._day = (at.date() - EPOCH).days
            self._from_ms, self._until_ms = self.begins_ms(self._day), self.begins_ms(self._day + 1)
        return self._day

    @staticmethod
    def month_of(day: int) -> range:
        """Return the days of a day's month."""
        first = (EPOCH + timedelta(days=day)).replace(day=1)
        following = (first + timedelta(days=31)).replace(day=1)
        return range((first - EPOCH).days, (following - EPOCH).days)

    def begins_ms(self, day: int) -> int:
        """Return when a day begins, in wall-clock milliseconds."""
        at = EPOCH + timedelta(days=day)
        return round(datetime(at.year, at.month, at.day, tzinfo=self.zone).timestamp() * 1000)
