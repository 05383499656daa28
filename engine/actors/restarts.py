"""An actor's crashes, and what follows of them: back-off, suspension, and its end."""

from __future__ import annotations

import contextlib
import logging
from functools import partial

from engine.actors.crashes import Crashes
from engine.actors.surroundings import Surroundings
from storage import suspensions
from storage.database import Write
from storage.errors import StorageUnavailable

log = logging.getLogger("rosey_llm.channel")


class Restarts:
    """One that is not `suspendable` rests all the same, but speaks for no channel.

    Nearly all actors never crash, and keep nothing for it.
    """

    __slots__ = ("_around", "_channel_id", "_crashes", "_suspendable")

    def __init__(self, channel_id: str, around: Surroundings, *, suspendable: bool) -> None:
        self._channel_id = channel_id
        self._around = around
        self._suspendable = suspendable
        self._crashes: Crashes | None = None

    @property
    def suspended(self) -> bool:
        """Since a suspension until a turn has succeeded."""
        return self._crashes is not None and self._crashes.suspended_until_ms > 0

    def suspended_for_s(self) -> float:
        """Seconds until the next attempt; 0.0 where it is not suspended."""
        return self._crashes.suspended_for_s() if self._crashes else 0.0

    def suspend_until(self, until_ms: int) -> None:
        """Take up a suspension from before a restart of the service."""
        if until_ms:
            self._crashes = Crashes()
            self._crashes.suspended_until_ms = until_ms

    async def crashed(self) -> float:
        """How long to wait before the next attempt. A suspension is kept over a restart."""
        crashes = self._crashes = self._crashes or Crashes()
        pause_s = crashes.add()
        suspended = self.suspended and self._suspendable
        self._around.counts.actor_crashed(suspended=suspended)
        if suspended:
            until_ms = crashes.suspended_until_ms
            log.error("Channel %.80r is suspended for %g s.", self._channel_id, pause_s)
            await self._keep(partial(suspensions.save, name=self._channel_id, until_ms=until_ms))
        return pause_s

    async def succeeded(self) -> None:
        if self.suspended and self._suspendable:
            log.warning("Channel %.80r works again.", self._channel_id)
            await self._keep(partial(suspensions.lift, name=self._channel_id))
        self._crashes = None

    async def _keep(self, write: Write[None]) -> None:
        with contextlib.suppress(StorageUnavailable):  # then it only does not survive a restart
            await self._around.database.write(write)
