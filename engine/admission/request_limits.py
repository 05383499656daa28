"""The limits of `[limits]`: how many requests a user or a channel may send."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from engine.admission.rate_limiter import RateLimiter
from engine.admission.sender import sender_of
from engine.commands.records import Help, ShowPersonas, Stop
from engine.commands.request import Request
from engine.config.settings import LimitSettings
from engine.errors import LimitReached
from engine.texts import sentences
from engine.texts.sentence import Sentence

FREE = (Help, Stop, ShowPersonas)


class LimitWindow(NamedTuple):
    """What a limit is of, what is said if it is reached, and its time."""

    scope: str
    sentence: Sentence
    seconds: float


WINDOWS = {
    "user_per_minute": LimitWindow("user", sentences.USER_PER_MINUTE, 60.0),
    "user_per_hour": LimitWindow("user", sentences.USER_PER_HOUR, 3600.0),
    "user_per_day": LimitWindow("user", sentences.USER_PER_DAY, 86_400.0),
    "channel_per_minute": LimitWindow("channel", sentences.CHANNEL_PER_MINUTE, 60.0),
}


class RequestLimits:
    """The token buckets of all users and channels. A sender without id and name has no user's."""

    def __init__(self, settings: LimitSettings, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._limiters = _limiters(settings, {}, clock)

    def apply(self, settings: LimitSettings) -> None:
        """Use these limits from now on; those that stay the same keep their buckets."""
        self._limiters = _limiters(settings, self._limiters, self._clock)

    def check(self, request: Request) -> None:
        """Raise LimitReached if a limit is reached; of several, the one that lasts longest."""
        waits = [
            (limiter.wait_s(key), name, limiter) for name, limiter, key in self._concerned(request)
        ]
        wait_s, name, limiter = max(waits, default=(0.0, "", None))
        if limiter is None or not wait_s:
            return
        scope, sentence, _ = WINDOWS[name]
        raise LimitReached(
            sentence(number=limiter.limit, wait=_shown(wait_s)),
            retry_after_s=round(wait_s, 1),
            limit=name,
            scope=scope,
        )

    def take(self, request: Request) -> None:
        """Count a request that `check` let pass."""
        for _, limiter, key in self._concerned(request):
            limiter.take(key)

    def give_back(self, request: Request) -> None:
        """Do not count a request that was a repeat, or could not be stored."""
        for _, limiter, key in self._concerned(request):
            limiter.give_back(key)

    def _concerned(self, request: Request) -> Iterator[tuple[str, RateLimiter, str]]:
        if not self._limiters or isinstance(request.command, FREE):
            return
        keys = {"user": sender_of(request), "channel": request.channel_id}
        for name, limiter in self._limiters.items():
            key = keys[WINDOWS[name].scope]
            if key is not None:
                yield name, limiter, key


def _limiters(
    settings: LimitSettings, known: dict[str, RateLimiter], clock: Callable[[], float]
) -> dict[str, RateLimiter]:
    made = {}
    for name, window in WINDOWS.items():
        if limit := getattr(settings, name):
            same = known.get(name)
            is_same = same is not None and same.limit == limit
            made[name] = same if is_same and same else RateLimiter(limit, window.seconds, clock)
    return made


def _shown(seconds: float) -> str:
    """Return a time by the signs of its unit, which all languages have: "42 s", "5 min", "3 h"."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    if seconds < 6000:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 3600)} h"
