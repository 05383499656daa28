"""The supervisor: finds or spawns the actor of each channel, limits them all, and drains them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from math import ceil

from engine.actors import recovery
from engine.actors.channel import ChannelActor
from engine.actors.channel_status import ChannelStatus
from engine.actors.context import ActorContext
from engine.actors.control_lane import ControlLane
from engine.actors.held_turns import HeldTurns
from engine.actors.mailbox import Acceptance, Envelope, Mailbox
from engine.actors.mailbox_limits import KEPT_IN_ALL, MailboxLimits
from engine.actors.resident_actors import ResidentActors
from engine.admission.gate import Gate
from engine.clock import now_ms
from engine.commands import records
from engine.commands.records import CONTROL, Complete, Stop
from engine.commands.request import Request
from engine.commands.sender import counted_sender
from engine.config.settings import ChannelSettings
from engine.errors import Busy, RoomError, TooManyCopies
from engine.texts import sentences
from storage import replies, suspensions
from storage.errors import StorageUnavailable
from storage.mailboxes import Accepted

log = logging.getLogger("rosey_llm.supervisor")


@dataclass(frozen=True, slots=True)
class SupervisorStatistics:
    """The supervisor's current numbers.

    actors: channels in memory.
    commands: commands given to actors whose turn has not ended.
    waiting: the commands among them that are known to be stored.
    recovered: whether `waiting` includes the commands that an earlier process left.
    completions: raw completions in progress.
    held: turns that wait until the database can be written.
    """

    actors: int
    commands: int
    waiting: int
    recovered: bool
    completions: int
    held: int


class Supervisor:
    """The owner of all actors: it gives each request to its channel's actor, within limits.

    Outcomes leave through the context's sink. gate: may refuse a request that is new.
    """

    def __init__(self, context: ActorContext, limits: ChannelSettings, gate: Gate) -> None:
        self._context = context
        self._gate = gate
        self._limits = limits
        self.residents = ResidentActors(limits, context.observer)
        self._completions: dict[tuple[str, str], ChannelActor] = {}
        self._on_done = self._done  # one bound method, shared by thousands of actors
        self._control_lane = ControlLane(context, self.residents.get, self._find_waiting, gate)
        self._commands = 0
        self._commands_bytes = 0
        self._waiting = 0
        self._recovered = False
        self._suspended: dict[str, int] = {}
        # How often each waiting request was sent again, by channel and request id.
        self._copies: dict[tuple[str, str], int] = {}
        self._draining = False

    def statistics(self) -> SupervisorStatistics:
        return SupervisorStatistics(
            len(self.residents),
            self._commands,
            self._waiting,
            self._recovered,
            len(self._completions),
            len(self._context.held),
        )

    @property
    def held(self) -> HeldTurns:
        """The turns that wait until the database can be written."""
        return self._context.held

    def channels(self, idle: int = 0) -> Iterator[tuple[ChannelStatus, float]]:
        """Yield (status, seconds since the last use) of channels, the last used first.

        These are all that work, wait or are suspended, and up to `idle` others.
        """
        return self.residents.statuses(idle)

    # Accept commands.

    def tell(self, request: Request) -> None:
        """Give a request to its channel's actor and return at once.

        Raises NotAllowed, LimitReached, Busy or Suspended if it is not accepted.
        While the gate looks up whether it was accepted before, a refusal of the gate comes later,
        through the sink.
        """
        try:
            self._tell(request)
        except RoomError as exc:
            self._context.observer.refused(request.channel_id, request.request_id, exc.code)
            raise

    def _tell(self, request: Request) -> None:
        waiting = self._find_waiting(request)
        if waiting is not None:
            # Sent again while it waits: it has its place already, even in a full mailbox.
            self._join(request, waiting)
            return
        if self._draining:
            wait_s = self._context.waits.told()
            said = sentences.SERVICE_STOPPING(seconds=ceil(wait_s))
            raise Busy(said, retry_after_s=wait_s)
        try:
            self._gate.check(request)
        except RoomError as refusal:
            self._control_lane.refuse(request, refusal)
            return
        self._context.held.check()
        body = records.encode(request.command, request.trace, by_program=request.by_program)
        size_bytes = len(body) + len(request.channel_id) + len(request.username)
        is_control = isinstance(request.command, CONTROL)
        self._check_room(size_bytes, is_control=is_control)
        if isinstance(request.command, Stop):
            self._control_lane.stop(request)
            return
        actor = self._actor(request)
        sender = counted_sender(request)
        actor.check_room(size_bytes, sender, is_control=is_control)
        self._gate.take(request)
        accepted_ms, at_once = now_ms(), actor.idle
        accepted = self._context.ledger.accept(
            request, body, accepted_ms=accepted_ms, attempts=int(at_once)
        )
        envelope = Envelope(
            request, accepted, size_bytes, accepted_ms, at_once, False, actor.commands, sender
        )
        # A callback, because the command's turn, which awaits this too, may come much later.
        accepted.add_done_callback(partial(self._note_acceptance, actor, envelope))
        self._hand_over(actor, envelope)

    def _find_waiting(self, request: Request) -> ChannelActor | None:
        """Return the actor in which this request waits or runs; None if it does in none."""
        actor = self.residents.get(request.channel_id)
        if actor is not None and actor.has(request.request_id):
            return actor
        return self._completions.get(request[:2])

    def _join(self, request: Request, waiting: ChannelActor) -> None:
        """Add the sender to the request; TooManyCopies before that costs anybody else anything."""
        copies = self._copies.get(request[:2], 0)
        if copies >= replies.LIMIT:
            wait_s = waiting.outcome_wait_s
            said = sentences.COPIES_WAITING(number=copies, seconds=ceil(wait_s))
            raise TooManyCopies(said, retry_after_s=wait_s)
        self._copies[request[:2]] = copies + 1
        self._control_lane.join(request)

    def _note_acceptance(
        self, actor: ChannelActor, envelope: Envelope, accepted: asyncio.Future[Acceptance]
    ) -> None:
        observer, request = self._context.observer, envelope.request
        if accepted.cancelled() or (exc := accepted.exception()) is not None:
            self._gate.give_back(request)
            observer.unstored(request.channel_id, request.request_id)
            if not accepted.cancelled() and isinstance(exc, StorageUnavailable):
                actor.refuse_unstored(envelope, exc)
        elif isinstance(accepted.result(), Accepted):
            self._waiting += 1
            observer.accepted(request, envelope.ahead)
        else:
            self._gate.give_back(request)
            observer.repeated(request)

    def _check_room(self, size_bytes: int, *, is_control: bool) -> None:
        limits, commands = self._limits, self._commands + len(self._control_lane)
        is_full = commands >= limits.commands_limit
        if self._commands_bytes + size_bytes > limits.commands_limit_bytes:
            is_full = True
        if is_control and commands < limits.commands_limit + KEPT_IN_ALL:
            is_full = False
        if is_full:
            wait_s = self._context.waits.for_engine(self._commands)
            said = sentences.SERVICE_BUSY(number=self._commands, seconds=ceil(wait_s))
            raise Busy(said, retry_after_s=wait_s)

    def _hand_over(self, actor: ChannelActor, envelope: Envelope) -> None:
        if not self._commands:
            self._context.waits.work_began()
        self._commands += 1
        self._commands_bytes += envelope.size_bytes
        actor.tell(envelope)

    def _actor(self, request: Request) -> ChannelActor:
        """Return the channel's actor; a completion gets its own, so that it need not wait."""
        channel_id = request.channel_id
        if isinstance(request.command, Complete):
            actor = self._spawn(channel_id, suspendable=False)
            self._completions[request[:2]] = actor
            return actor
        found = self.residents.use(channel_id)
        if found is None:
            found = self._spawn(channel_id)
            found.suspend_until(self._suspended.pop(channel_id, 0))
            self.residents.add(found)
        return found

    def _spawn(self, channel_id: str, *, suspendable: bool = True) -> ChannelActor:
        mailbox = Mailbox(MailboxLimits.of(self._limits, channel_id))
        return ChannelActor(
            channel_id, self._context, mailbox, self._on_done, suspendable=suspendable
        )

    def _done(self, actor: ChannelActor, envelope: Envelope) -> None:
        # A method, not a closure over the actor: a reference cycle would keep a removed actor in
        # memory until the garbage collector runs.
        self._context.waits.command_ended()
        self._commands -= 1
        self._commands_bytes -= envelope.size_bytes
        self._waiting -= envelope.is_accepted
        self._completions.pop(envelope.request[:2], None)
        if self._copies:
            self._copies.pop(envelope.request[:2], None)

    # From start to drain.

    async def recover(self) -> None:
        """Publish outcomes that may not have been published, and continue waiting commands."""
        context = self._context
        self._suspended = await context.database.write(suspensions.load)
        await recovery.publish_committed(context)
        waiting = await context.ledger.waiting()
        # Count all of them before the next await, so that the numbers are always consistent.
        self._waiting = len(waiting)
        self._recovered = True
        context.observer.recovered(len(waiting))
        for row in waiting:
            envelope = await recovery.envelope_of(context, row)
            if envelope is None:
                self._waiting -= 1
            else:
                self._hand_over(self._actor(envelope.request), envelope)
        if waiting:
            log.info(
                "Continuing commands that were accepted before the restart: %(count)d.",
                {"event": "mailbox.recovered", "count": len(waiting)},
            )

    def cancel(self, channel_id: str, request_id: str) -> bool:
        """End a chat without an answer; return whether it runs, so that its outcome comes soon."""
        actor = self.residents.get(channel_id)
        return actor is not None and actor.cancel(request_id)

    def erase(self, requests: Iterable[tuple[str, str]]) -> None:
        """Erase these commands (channel, request id) in memory, waiting or running."""
        by_channel: dict[str, set[str]] = {}
        for channel_id, request_id in requests:
            by_channel.setdefault(channel_id, set()).add(request_id)
        for actor in [*self.residents, *self._completions.values()]:
            if request_ids := by_channel.get(actor.channel_id):
                actor.erase(request_ids)

    def forget(self, channel_ids: Iterable[str]) -> None:
        """Drop the cached conversations of these channels: their history was changed."""
        for channel_id in channel_ids:
            if actor := self.residents.get(channel_id):
                actor.forget()

    def forget_usage(self) -> None:
        """Drop what is known of users' budgets: their sums were deleted."""
        self._context.budgets.forget_users()

    def set_limits(self, limits: ChannelSettings) -> None:
        """Use these limits from now on; commands accepted already stay accepted."""
        self._limits = limits
        self.residents.set_limits(limits)

    async def drain(self, timeout_s: float) -> None:
        """Finish running turns within `timeout_s`; waiting commands stay in the durable mailbox."""
        self._draining = True
        actors = [*self.residents, *self._completions.values()]
        running = {task for actor in actors if (task := actor.drain())} | self._control_lane.tasks
        if running:
            _, late = await asyncio.wait(running, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            if late:
                log.warning(
                    "%(count)d turns did not end in time; a restart continues them.",
                    {"event": "drain.turns_left", "count": len(late)},
                )
        await asyncio.gather(*(actor.leave() for actor in actors))
        try:
            await self.residents.snapshot_changed()
        except StorageUnavailable as exc:
            log.error(
                "Cannot store the last snapshots; the next start reads more history: %(error)s",
                {"event": "drain.snapshots_failed", "error": exc},
            )
        self.residents.clear()
