"""The actors in memory: found by channel, snapshotted when changed, passivated when idle."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator

from engine.actors.channel import ChannelActor
from engine.actors.channel_status import ChannelStatus
from engine.actors.mailbox_limits import MailboxLimits
from engine.commands.observer import TurnObserver
from engine.config.settings import ChannelSettings
from storage.errors import StorageUnavailable

log = logging.getLogger("rosey_llm.supervisor")
# So many share a commit. More would delay the commits of turns, and need more memory at once.
SNAPSHOTS_AT_ONCE = 64


class ResidentActors:
    """The channels' actors in memory, in the order of their last use.

    `run` stores idle channels and removes them, so that memory grows only with active ones.
    """

    def __init__(self, limits: ChannelSettings, observer: TurnObserver) -> None:
        self._limits = limits
        self._limits_changed = asyncio.Event()
        self._observer = observer
        self._actors: dict[str, ChannelActor] = {}
        self._last_used_s: dict[str, float] = {}  # by channel, the longest unused first

    def __len__(self) -> int:
        return len(self._actors)

    def __iter__(self) -> Iterator[ChannelActor]:
        return iter(self._actors.values())

    def get(self, channel_id: str) -> ChannelActor | None:
        return self._actors.get(channel_id)

    def use(self, channel_id: str) -> ChannelActor | None:
        """Note that the channel is used now; return its actor, None if it is not in memory."""
        self._last_used_s.pop(channel_id, None)  # so that it moves to the end
        self._last_used_s[channel_id] = time.monotonic()
        return self._actors.get(channel_id)

    def add(self, actor: ChannelActor) -> None:
        """Add a new actor; call `use` for its channel first."""
        self._actors[actor.channel_id] = actor
        self._observer.activated(actor.channel_id)

    def statuses(self, idle: int) -> Iterator[tuple[ChannelStatus, float]]:
        """Yield (status, seconds since the last use) of channels, the last used first.

        These are all that work, wait or are suspended, and up to `idle` others.
        """
        now_s = time.monotonic()
        for channel_id, used_s in reversed(self._last_used_s.items()):
            actor = self._actors.get(channel_id)
            if actor is None:
                continue
            if actor.at_rest:
                if idle <= 0:
                    continue
                idle -= 1
            yield actor.status(), now_s - used_s

    def set_limits(self, limits: ChannelSettings) -> None:
        """Use these limits from now on, for every mailbox and for the actors in memory."""
        self._limits = limits
        for actor in self._actors.values():
            actor.set_limits(MailboxLimits.of(limits, actor.channel_id))
        self._limits_changed.set()

    async def run(self) -> None:
        """Snapshot changed channels and passivate idle ones, until cancelled."""
        while True:
            await self._pause()
            try:
                await self.snapshot_changed()
                await self.passivate_idle()
            except StorageUnavailable:
                log.debug(
                    "Cannot store snapshots while the database cannot be written.",
                    {"event": "snapshots.postponed"},
                )

    async def snapshot_changed(self) -> None:
        """Store a snapshot of every conversation that has changed since its latest one."""
        changed = [actor for actor in self._actors.values() if actor.changed]
        for start in range(0, len(changed), SNAPSHOTS_AT_ONCE):
            group = changed[start : start + SNAPSHOTS_AT_ONCE]
            await asyncio.gather(*(actor.snapshot() for actor in group))

    async def passivate_idle(self) -> None:
        """Store and remove the channels that are idle for long; if too many, the longest unused."""
        before_s = time.monotonic() - self._limits.passivate_after_s
        for channel_id, used_s in list(self._last_used_s.items()):
            too_many = len(self._actors) > self._limits.resident_limit
            actor = self._actors.get(channel_id)
            if actor is None or not actor.idle or not (too_many or used_s <= before_s):
                continue
            await actor.snapshot()
            # A command that came during the await has left a task or a newer time. Check again and
            # remove with no await in between, or a command could be told to a removed actor.
            unused = self._last_used_s.get(channel_id) == used_s
            if unused and actor.idle and not actor.changed:
                del self._actors[channel_id], self._last_used_s[channel_id]
                self._observer.passivated("idle" if used_s <= before_s else "limit")
                log.debug(
                    "Channel %(channel).80r passivated.",
                    {"event": "channel.passivated", "channel": channel_id},
                )

    def clear(self) -> None:
        """Remove all actors: the engine ends."""
        self._observer.passivated("drain", len(self._actors))
        self._actors.clear()

    async def _pause(self) -> None:
        """Wait until the next snapshots are due; new limits end the wait early."""
        self._limits_changed.clear()
        limits = self._limits
        pause_s = min(limits.snapshot_interval_s, limits.passivate_after_s / 2)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._limits_changed.wait()
