"""The gate: everything that may refuse a request before it is accepted, in one order.

Access, then permissions, then limits: who is not heard at all learns nothing, and a refusal by role
costs no token. Nothing here awaits, so what `check` finds still holds when `take` counts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from engine.admission.access import Access
from engine.admission.permissions import RolePermissions
from engine.admission.rate_limiter import RateLimiter
from engine.admission.request_limits import RequestLimits
from engine.commands.observer import TurnObserver
from engine.commands.request import Request
from engine.commands.sender import sender_of
from engine.config.settings import Settings
from engine.errors import LimitReached, RoomError
from storage.usage import Sums

log = logging.getLogger("rosey_llm.admission")
SAID_EVERY_S = 60.0
# Look-ups of requests that are refused: a flood of them must not keep the database busy.
LOOK_UPS_A_MINUTE, LOOK_UPS_A_SECOND = 10, 50  # of one sender in a channel, and of all


class Gate:
    """The gate of one engine.

    permissions: asked again for what depends on the turn that runs.
    """

    def __init__(
        self,
        settings: Settings,
        observer: TurnObserver,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.permissions = RolePermissions(settings.permissions, settings.channels)
        self._observer = observer
        self._access = Access(settings.access, clock)
        self._limits = RequestLimits(settings.limits, clock)
        self._said = RateLimiter(1, SAID_EVERY_S, clock)
        self._look_ups = RateLimiter(LOOK_UPS_A_MINUTE, 60.0, clock)
        self._all_look_ups = RateLimiter(LOOK_UPS_A_SECOND, 1.0, clock)

    def apply(self, settings: Settings) -> None:
        """Use these settings from the next request on."""
        self.permissions = RolePermissions(settings.permissions, settings.channels)
        self._access = self._access.apply(settings.access)
        self._limits.apply(settings.limits)

    @property
    def today(self) -> int | None:
        """The day whose usage `load` wants; None if it wants none."""
        return self._limits.today

    def load(self, users: Iterable[Sums]) -> None:
        """Take up what users used today."""
        self._limits.load(users)

    def check(self, request: Request) -> None:
        """Raise NotAllowed or LimitReached if a new request is refused."""
        self._access.check(request)
        self.permissions.check(request)
        self._limits.check(request)

    def may_look_up(self, request: Request) -> bool:
        """Return whether to look in the store if a refused request was accepted before.

        Each time counts. An id that the engine made is never one that is sent again.
        """
        key = _key(request)
        if not request.has_given_id or self._all_look_ups.wait_s("") or self._look_ups.wait_s(key):
            return False
        self._all_look_ups.take("")
        self._look_ups.take(key)
        return True

    def take(self, request: Request) -> None:
        """Count a request that is being accepted."""
        self._limits.take(request)

    def give_back(self, request: Request) -> None:
        """Do not count it: it was accepted before, or could not be stored."""
        self._limits.give_back(request)

    def note(self, request: Request, exc: RoomError) -> None:
        """Count and log a request that is refused by `check`."""
        if isinstance(exc, LimitReached):
            self._observer.limited(exc.limit, exc.scope)
        key = _key(request)
        if self._said.wait_s(key):
            return
        self._said.take(key)
        log.info(
            "A sender in channel %(channel).80r is refused: %(error)s",
            {
                "event": "message.not_admitted",
                "channel": request.channel_id,
                "request_id": request.request_id,
                "code": exc.code,
                "error": str(exc) or "it is not to be heard",
            },
        )


def _key(request: Request) -> str:
    return f"{request.channel_id}\0{sender_of(request)}"
