"""Access: who is heard at all, and how often one bot is answered by another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import translate

from engine.admission.rate_limiter import RateLimiter
from engine.commands.request import Request
from engine.commands.sender import sender_of
from engine.config.settings import AccessSettings
from engine.errors import NotAllowed
from engine.texts import sentences

BOT_TURNS, BOT_PERIOD_S = 3, 60.0
BOT_SILENCE_S = 600.0
PAIRS = 10_000


class Access:
    """`[access]` of the configuration. Patterns are matched without regard to case.

    An allowed bot gets BOT_TURNS answers a minute in a channel. If it wants more, it gets none for
    BOT_SILENCE_S: two bots that answer each other stop by themselves.
    """

    def __init__(self, settings: AccessSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._users_allow = _pattern(settings.users_allow)
        self._users_deny = _pattern(settings.users_deny)
        self._channels_allow = _pattern(settings.channels_allow)
        self._bots = RateLimiter(BOT_TURNS, BOT_PERIOD_S, clock, PAIRS)
        self._silent_until_s: dict[str, float] = {}

    def apply(self, settings: AccessSettings) -> Access:
        """Return the access by other settings; bots that are silent stay silent."""
        changed = Access(settings, self._clock)
        changed._bots, changed._silent_until_s = self._bots, self._silent_until_s
        return changed

    def check(self, request: Request) -> None:
        """Raise NotAllowed if the sender is not to be heard."""
        if self._is_denied(request):
            raise NotAllowed(sentences.DENIED() if self._settings.answer_denied else None)
        if request.is_bot and not self._settings.answer_bots:
            raise NotAllowed
        if request.is_bot:
            self._check_bot(f"{request.channel_id}\0{sender_of(request)}")

    def _is_denied(self, request: Request) -> bool:
        if self._channels_allow and not self._channels_allow.fullmatch(request.channel_id):
            return True
        known = request.username if request.user_id is None else request.user_id
        if self._users_allow and not self._users_allow.fullmatch(known):
            return True
        return self._users_deny is not None and any(
            self._users_deny.fullmatch(name) for name in {known, request.username}
        )

    def _check_bot(self, pair: str) -> None:
        now_s = self._clock()
        if self._silent_until_s.get(pair, 0.0) > now_s:
            raise NotAllowed
        if self._bots.wait_s(pair):
            self._silent_until_s.pop(pair, None)
            self._silent_until_s[pair] = now_s + BOT_SILENCE_S
            if len(self._silent_until_s) > PAIRS:
                del self._silent_until_s[next(iter(self._silent_until_s))]
            raise NotAllowed
        self._bots.take(pair)


def _pattern(globs: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern that matches what one of these matches; None if there are none."""
    made = "|".join(translate(glob.replace("[", "[[]")) for glob in globs)
    return re.compile(made, re.IGNORECASE) if made else None
