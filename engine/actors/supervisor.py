"""The supervisor: one actor per channel, found or spawned; passivated when idle; drained at last.

Memory grows with the channels that are active. A channel that is not is a row on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from engine.actors.channel import ChannelActor, ChannelStatus
from engine.actors.context import ActorContext
from engine.actors.control_lane import ControlLane
from engine.actors.mailbox import Acceptance, Envelope, Mailbox
from engine.clock import now_ms
from engine.commands import records
from engine.commands.outcomes import Failure
from engine.commands.records import Complete, Stop
from engine.commands.request import Request
from engine.config.settings import ChannelSettings
from engine.errors import Busy, EngineError
from engine.telemetry import turnlog
from storage import mailboxes, suspensions
from storage.database import Write
from storage.errors import StorageUnavailable
from storage.history import Row
from storage.mailboxes import Accepted, Waiting

log = logging.getLogger("rosey_llm.supervisor")
# These share a commit. More would hold up the commits of turns, and all be in memory together.
SNAPSHOTS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class SupervisorStatistics:
    """Actors in memory; commands told whose turn has not ended, and those of them that are known
    to be on disk, as far as `recovered` what an earlier run left; completions being made.
    """

    actors: int
    commands: int
    waiting: int
    recovered: bool
    completions: int


class Supervisor:
    """`tell` hands a request over and returns at once; outcomes leave through the outlet."""

    def __init__(self, context: ActorContext, channels: ChannelSettings) -> None:
        self._context = context
        self._limits = channels
        self._limits_set = asyncio.Event()
        self._actors: dict[str, ChannelActor] = {}
        self._last_told: dict[str, float] = {}
        self._completions: set[ChannelActor] = set()
        self._on_done = self._done  # bound once, and not for each of thousands of actors
        self._control_lane = ControlLane(context, self._actors.get)
        self._commands = 0
        self._commands_bytes = 0
        self._waiting = 0
        self._recovered = False
        self._suspended: dict[str, int] = {}
        self._draining = False

    def statistics(self) -> SupervisorStatistics:
        return SupervisorStatistics(
            len(self._actors),
            self._commands,
            self._waiting,
            self._recovered,
            len(self._completions),
        )

    def channels(self, idle: int = 0) -> Iterator[tuple[ChannelStatus, float]]:
        """The channels that work, wait or rest, and as many `idle` ones, the latest first.

        With each, how many seconds ago it was last spoken in.
        """
        now_s = time.monotonic()
        for channel_id, told_s in reversed(self._last_told.items()):
            actor = self._actors.get(channel_id)
            if actor is None:
                continue
            if actor.unconcerned:
                if idle <= 0:
                    continue
                idle -= 1
            yield actor.status(), now_s - told_s

    # Commands in.

    def tell(self, request: Request) -> None:
        """Hand a request to its channel's actor. Raises Busy or Suspended: nothing was accepted."""
        try:
            self._tell(request)
        except EngineError as exc:
            self._context.counts.commands[exc.code] += 1
            raise

    def _tell(self, request: Request) -> None:
        waiting = self._actors.get(request.channel_id)
        if waiting is not None and waiting.has(request.request_id):
            # Sent again while it waits: it has its place already, however full it is here.
            self._control_lane.join(request)
            return
        if self._draining:
            raise Busy("The service is stopping. Try again shortly.", retry_after_s=5.0)
        body = records.encode(request.command, request.trace)
        size_bytes = len(body) + len(request.channel_id) + len(request.username)
        self._check_room(size_bytes)
        if isinstance(request.command, Stop):
            self._control_lane.stop(request)
            return
        actor = self._actor(request)
        actor.check_room(size_bytes)
        accepted_ms, at_once = now_ms(), actor.idle
        put = self._put(request, body, accepted_ms, attempts=int(at_once))
        accepted = self._context.database.write_soon(put)
        accepted.add_done_callback(self._note_acceptance)
        self._hand_over(actor, Envelope(request, accepted, size_bytes, accepted_ms, at_once))
        turnlog.accepted(request)

    def _note_acceptance(self, accepted: asyncio.Future[Acceptance]) -> None:
        # At once, and not when the command's turn comes: that may be much later.
        if accepted.cancelled() or accepted.exception() is not None:
            self._context.counts.commands["unstored"] += 1
        elif isinstance(accepted.result(), Accepted):
            self._context.counts.commands["accepted"] += 1
            self._waiting += 1
        else:
            self._context.counts.commands["duplicate"] += 1

    @staticmethod
    def _put(request: Request, body: bytes, accepted_ms: int, attempts: int) -> Write[Acceptance]:
        return partial(
            mailboxes.put,
            channel=request.channel_id,
            request_id=request.request_id,
            username=request.username,
            body=body,
            replies=request.replies,
            now_ms=accepted_ms,
            attempts=attempts,
        )

    def _check_room(self, size_bytes: int) -> None:
        limits = self._limits
        full = self._commands + len(self._control_lane) >= limits.commands_limit
        if full or self._commands_bytes + size_bytes > limits.commands_limit_bytes:
            raise Busy(
                f"The service is busy: {self._commands} messages are waiting. Try again shortly.",
                retry_after_s=5.0,
            )

    def _hand_over(self, actor: ChannelActor, envelope: Envelope) -> None:
        self._commands += 1
        self._commands_bytes += envelope.size_bytes
        actor.tell(envelope)

    def _actor(self, request: Request) -> ChannelActor:
        """The channel's actor. A completion gets one of its own: it waits for no other message."""
        channel_id = request.channel_id
        if isinstance(request.command, Complete):
            actor = self._spawn(channel_id, suspendable=False)
            self._completions.add(actor)
            return actor
        self._last_told.pop(channel_id, None)  # so that the dictionary is in the order of last use
        self._last_told[channel_id] = time.monotonic()
        found = self._actors.get(channel_id)
        if found is None:
            found = self._actors[channel_id] = self._spawn(channel_id)
            found.suspend_until(self._suspended.pop(channel_id, 0))
            self._context.counts.activations += 1
        return found

    def _spawn(self, channel_id: str, *, suspendable: bool = True) -> ChannelActor:
        mailbox = Mailbox(self._limits.mailbox_limit, self._limits.mailbox_limit_bytes)
        return ChannelActor(
            channel_id, self._context, mailbox, self._on_done, suspendable=suspendable
        )

    def _done(self, actor: ChannelActor, envelope: Envelope) -> None:
        # A method, not a closure over the actor: an actor that is let go must be free at once, and
        # not wait, in a cycle, for a collector that seldom comes.
        self._commands -= 1
        self._commands_bytes -= envelope.size_bytes
        self._waiting -= envelope.is_accepted
        self._completions.discard(actor)

    # From start to drain.

    async def recover(self) -> None:
        """Publish what was committed but perhaps not published, and go on with what waits."""
        database = self._context.database
        self._suspended = await database.write(suspensions.load)
        for outcome in await database.write(mailboxes.unpublished):
            self._context.sink.publish(outcome)
        waiting = await database.write(mailboxes.waiting)
        # All of them now, before anything else is awaited, so that the numbers always fit together.
        self._waiting = len(waiting)
        self._recovered = True
        self._context.counts.recover(len(waiting))
        for row in waiting:
            await self._recover(row)
        if waiting:
            log.info("Going on with %d commands accepted before the restart.", len(waiting))

    async def _recover(self, row: Waiting) -> None:
        try:
            command, trace = records.decode(row.body), records.decode_trace(row.body)
        except (KeyError, TypeError, ValueError) as exc:
            # A newer version may have accepted what this one does not know.
            log.error("A waiting command cannot be read: %r", exc)
            text = "This message was accepted by another version, which this one cannot read."
            failure = Failure(row.channel, row.request_id, "internal", text)
            settle = partial(
                mailboxes.settle,
                row_id=row.id,
                channel=row.channel,
                request_id=row.request_id,
                rows=(Row("error", row.request_id, row.username, text, code="internal"),),
                kind=failure.kind,
                body=failure.encode(),
                now_ms=now_ms(),
            )
            if settled := await self._context.database.write(settle):
                self._context.sink.publish(settled)
            self._waiting -= 1
            self._context.counts.turn_ended(failure, now_ms() - row.accepted_ms, 0)
            return
        request = Request(row.channel, row.request_id, row.username, command, row.replies, trace)
        accepted: asyncio.Future[Acceptance] = asyncio.get_running_loop().create_future()
        accepted.set_result(Accepted(row.id))
        envelope = Envelope(request, accepted, len(row.body), row.accepted_ms)
        self._hand_over(self._actor(request), envelope)

    def erase(self, requests: Iterable[tuple[str, str]]) -> None:
        """These (channel, request id) were erased while they waited or ran."""
        by_channel: dict[str, set[str]] = {}
        for channel_id, request_id in requests:
            by_channel.setdefault(channel_id, set()).add(request_id)
        for actor in [*self._actors.values(), *self._completions]:
            if request_ids := by_channel.get(actor.channel_id):
                actor.erase(request_ids)

    def forget(self, channel_ids: Iterable[str]) -> None:
        """What these channels' history says has changed."""
        for channel_id in channel_ids:
            if actor := self._actors.get(channel_id):
                actor.forget()

    def set_limits(self, channels: ChannelSettings) -> None:
        """New limits, at once and for every channel. What was accepted already stays accepted."""
        self._limits = channels
        for actor in self._actors.values():
            actor.set_limits(channels.mailbox_limit, channels.mailbox_limit_bytes)
        self._limits_set.set()

    async def run(self) -> None:
        """Snapshot changed channels and passivate idle ones, until cancelled."""
        while True:
            await self._pause()
            try:
                await self.snapshot_changed()
                await self.passivate_idle()
            except StorageUnavailable:
                log.debug("No snapshots while the database cannot be written.")

    async def _pause(self) -> None:
        """As long as the limits say; new limits end it, since they may ask for work at once."""
        self._limits_set.clear()
        limits = self._limits
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(
                min(limits.snapshot_interval_s, limits.passivate_after_s / 2)
            ):
                await self._limits_set.wait()

    async def snapshot_changed(self) -> None:
        changed = [actor for actor in self._actors.values() if actor.changed]
        for start in range(0, len(changed), SNAPSHOTS_AT_ONCE):
            together = changed[start : start + SNAPSHOTS_AT_ONCE]
            await asyncio.gather(*(actor.snapshot() for actor in together))

    async def passivate_idle(self) -> None:
        """Store idle channels and let go of them; where there are too many, the longest idle."""
        before = time.monotonic() - self._limits.passivate_after_s
        for channel_id, last_told in list(self._last_told.items()):  # the longest idle come first
            too_many = len(self._actors) > self._limits.resident_limit
            actor = self._actors.get(channel_id)
            if actor is None or not actor.idle or not (too_many or last_told <= before):
                continue
            await actor.snapshot()
            # What came during the await has a task or a newer time: look again, then leave with no
            # await in between, or it would be told to an actor that is gone.
            untouched = self._last_told.get(channel_id) == last_told
            if untouched and actor.idle and not actor.changed:
                del self._actors[channel_id], self._last_told[channel_id]
                cause = "idle" if last_told <= before else "limit"
                self._context.counts.passivations[cause] += 1
                log.debug("Channel %.80r passivated.", channel_id)

    async def drain(self, timeout_s: float) -> None:
        """Let running turns finish within `timeout_s`; what waits stays in the durable mailbox."""
        self._draining = True
        actors = [*self._actors.values(), *self._completions]
        running = {task for actor in actors if (task := actor.drain())} | self._control_lane.tasks
        if running:
            _, late = await asyncio.wait(running, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            if late:
                log.warning("%d turns did not end in time; they go on after a restart.", len(late))
        await asyncio.gather(*(actor.leave() for actor in actors))
        try:
            await self.snapshot_changed()
        except StorageUnavailable as exc:
            log.error("No last snapshots: %s", exc)
        self._context.counts.passivations["drain"] += len(self._actors)
        self._actors.clear()
