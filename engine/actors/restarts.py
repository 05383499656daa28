"""The rules for restarting a crashed actor: back-off, suspension, and the end of a suspension."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections import deque
from functools import partial

from engine.actors.context import ActorContext
from storage import suspensions
from storage.errors import StorageUnavailable
from storage.writer.database import Write

log = logging.getLogger("rosey_llm.channel")
CRASH_LIMIT = 5
WITHIN_S = 60.0
SUSPENSION_S = 60.0  # also the longest: a wall clock that is set back cannot extend it


class CrashHistory:
    """The recent crashes of one actor; more than 5 within 60 s suspend it for 60 s.

    suspended_until_ms: wall-clock milliseconds, valid also after a restart; 0 if not suspended.
    """

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=CRASH_LIMIT + 1)
        self.suspended_until_ms = 0

    def add(self) -> float:
        """Note a crash; return how many seconds to wait before the next attempt."""
        now = time.monotonic()
        self._times.append(now)
        too_many = len(self._times) > CRASH_LIMIT and now - self._times[0] <= WITHIN_S
        # An actor that crashes in its first turn after a suspension is suspended again at once.
        if too_many or self.suspended_until_ms:
            self.suspended_until_ms = round((time.time() + SUSPENSION_S) * 1000)
            return SUSPENSION_S
        # Jitter, so that channels that crashed together do not restart together.
        return float(0.05 * 2 ** len(self._times) * random.uniform(0.75, 1.25))  # noqa: S311

    def suspended_for_s(self) -> float:
        """Return the seconds until the next attempt; 0.0 if the actor is not suspended."""
        left_s = round(self.suspended_until_ms / 1000 - time.time(), 1)
        return min(SUSPENSION_S, max(0.0, left_s))


class RestartPolicy:
    """A record of an actor's crashes that decides when the actor may run again.

    suspendable: False for an actor of one raw completion; it waits too, but nothing is stored.

    Most actors never crash, and an actor that has not crashed holds no crash history.
    """

    __slots__ = ("_channel_id", "_context", "_crashes", "_suspendable")

    def __init__(self, channel_id: str, context: ActorContext, *, suspendable: bool) -> None:
        self._channel_id = channel_id
        self._context = context
        self._suspendable = suspendable
        self._crashes: CrashHistory | None = None

    @property
    def suspended(self) -> bool:
        """Whether the actor was suspended and no turn has succeeded since."""
        return self._crashes is not None and self._crashes.suspended_until_ms > 0

    def suspended_for_s(self) -> float:
        """Return the seconds until the next attempt; 0.0 if the actor is not suspended."""
        return self._crashes.suspended_for_s() if self._crashes else 0.0

    def suspend_until(self, until_ms: int) -> None:
        """Restore a suspension from before a restart of the service; 0 means none."""
        if until_ms:
            self._crashes = CrashHistory()
            self._crashes.suspended_until_ms = until_ms

    async def crashed(self) -> float:
        """Note a crash, store a suspension if it leads to one; return the seconds to wait."""
        crashes = self._crashes = self._crashes or CrashHistory()
        pause_s = crashes.add()
        self._context.observer.crashed(self._channel_id)
        if self.suspended and self._suspendable:
            self._context.observer.suspended(self._channel_id)
            until_ms = crashes.suspended_until_ms
            log.error(
                "Channel %(channel).80r is suspended for %(wait_s)g s.",
                {"event": "channel.suspended", "channel": self._channel_id, "wait_s": pause_s},
            )
            await self._store(partial(suspensions.save, name=self._channel_id, until_ms=until_ms))
        return pause_s

    async def succeeded(self) -> None:
        """Note a turn that ended without a crash; it ends a suspension."""
        if self.suspended and self._suspendable:
            log.warning(
                "Channel %(channel).80r works again.",
                {"event": "channel.recovered", "channel": self._channel_id},
            )
            await self._store(partial(suspensions.lift, name=self._channel_id))
        self._crashes = None

    async def _store(self, write: Write[None]) -> None:
        # A suspension that cannot be stored still holds, until the service restarts.
        with contextlib.suppress(StorageUnavailable):
            await self._context.database.write(write)
