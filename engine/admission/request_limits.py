"""The limits of `[limits]`: how many requests a user or a channel may send.

Minutes and hours are token buckets in memory, full after a restart. Days are those of the calendar,
and a restart goes on with what the table `usage` has of today.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, get_args

from engine.accounting import scopes
from engine.accounting.days import Days
from engine.admission.daily_limiter import DailyLimiter
from engine.admission.rate_limiter import RateLimiter
from engine.clock import now_ms
from engine.commands.records import Help, ShowModel, ShowPersonas, ShowUsage, Stop
from engine.commands.request import Door, Request
from engine.commands.sender import sender_of
from engine.config.settings import LimitSettings
from engine.errors import LimitReached
from engine.texts import durations, sentences
from engine.texts.sentence import Sentence
from storage.usage import Sums

FREE = (Help, Stop, ShowPersonas, ShowModel, ShowUsage)


class LimitWindow(NamedTuple):
    """What a limit is of, what is said if it is reached, and its time."""

    scope: str
    sentence: Sentence
    seconds: float


DAILY = "user_per_day"
WINDOWS = {
    "user_per_minute": LimitWindow("user", sentences.USER_PER_MINUTE, 60.0),
    "user_per_hour": LimitWindow("user", sentences.USER_PER_HOUR, 3600.0),
    DAILY: LimitWindow("user", sentences.USER_PER_DAY, 86_400.0),
    "channel_per_minute": LimitWindow("channel", sentences.CHANNEL_PER_MINUTE, 60.0),
}
# By name in `[limits]`; those of a door have its name in front, as in TOML.
SCOPES = {
    f"{door}.{name}" if door else name: window.scope
    for door in get_args(Door)
    for name, window in WINDOWS.items()
}
Limiter = RateLimiter | DailyLimiter


class RequestLimits:
    """The counts of all users and channels. A sender without id and name has no user's.

    The limits of `[limits]` hold for every door, those of a door's own table beside them.
    """

    def __init__(
        self,
        settings: LimitSettings,
        clock: Callable[[], float],
        wall_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._clock = clock
        self._wall_ms = wall_ms
        self._settings = settings
        self._limiters = {door: dict[str, Limiter]() for door in get_args(Door)}
        self.apply(settings)

    def apply(self, settings: LimitSettings) -> None:
        """Use these limits from now on; those that stay the same keep their counts."""
        same_days = settings.timezone == self._settings.timezone
        self._settings = settings
        for door, known in self._limiters.items():
            self._limiters[door] = {
                name: known[name]
                if name in known and known[name].limit == limit and (same_days or name != DAILY)
                else self._made(name, limit)
                for name, limit in _limits(settings, door)
            }

    @property
    def today(self) -> int | None:
        """The day whose counts `load` wants; None if days are not limited."""
        limiter = self._limiters[""].get(DAILY)
        return limiter.days.of(self._wall_ms()) if isinstance(limiter, DailyLimiter) else None

    def load(self, users: Iterable[Sums]) -> None:
        """Go on with what users asked today, before this process or before days were limited."""
        limiter = self._limiters[""].get(DAILY)
        if isinstance(limiter, DailyLimiter):
            limiter.load({each.scope.removeprefix(scopes.USER): each.requests for each in users})

    def check(self, request: Request) -> None:
        """Raise LimitReached if a limit is reached; of several, the one that lasts longest."""
        if not self._are_any(request):
            return
        waits = [
            (limiter.wait_s(key), door, name, limiter)
            for door, name, limiter, key in self._concerned(request)
        ]
        wait_s, door, name, limiter = max(waits, default=(0.0, "", "", None))
        if limiter is None or not wait_s:
            return
        scope, sentence, _ = WINDOWS[name]
        raise LimitReached(
            sentence(number=limiter.limit, wait=durations.shown(wait_s)),
            retry_after_s=round(wait_s, 1),
            limit=f"{door}.{name}" if door else name,
            scope=scope,
        )

    def take(self, request: Request) -> None:
        """Count a request that `check` let pass."""
        if not self._are_any(request):
            return
        for _, _, limiter, key in self._concerned(request):
            limiter.take(key)

    def give_back(self, request: Request) -> None:
        """Do not count a request that was a repeat, or could not be stored."""
        for _, _, limiter, key in self._concerned(request):
            limiter.give_back(key)

    def _are_any(self, request: Request) -> bool:
        return bool(self._limiters[""] or request.door)

    def _made(self, name: str, limit: int) -> Limiter:
        if name == DAILY:
            return DailyLimiter(limit, Days(self._settings.timezone), self._wall_ms)
        return RateLimiter(limit, WINDOWS[name].seconds, self._clock)

    def _concerned(self, request: Request) -> Iterator[tuple[Door, str, Limiter, str]]:
        if isinstance(request.command, FREE):
            return
        doors: tuple[Door, ...] = ("", request.door) if request.door else ("",)
        keys = {"user": sender_of(request), "channel": request.channel_id}
        for door in doors:
            for name, limiter in self._limiters[door].items():
                key = keys[WINDOWS[name].scope]
                if key is not None:
                    yield door, name, limiter, key


def _limits(settings: LimitSettings, door: Door) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of each limit that is set for a door."""
    table = getattr(settings, door) if door else settings
    for name in WINDOWS:
        if limit := getattr(table, name):
            yield name, limit
