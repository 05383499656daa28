"""A channel's actor: its mailbox, its conversation, and one turn at a time.

Its task lives only while there is work. A turn goes through phases, each durable before the next:
accepted, attempted, settled, published (`storage/mailboxes.py` says what a crash leaves of each).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from engine.actors.context import ActorContext
from engine.actors.conversation_cache import ConversationCache
from engine.actors.mailbox import Envelope, Mailbox
from engine.actors.restarts import RestartPolicy
from engine.actors.running_turn import RunningTurn
from engine.answering import turn_result
from engine.answering.turn_result import TurnResult
from engine.clock import now_ms
from engine.commands import outcomes
from engine.commands.outcomes import Answer, Failure
from engine.errors import Internal, Suspended
from engine.telemetry import turnlog
from storage import mailboxes
from storage.errors import StorageUnavailable
from storage.mailboxes import Accepted, Settled

log = logging.getLogger("rosey_llm.channel")
MAX_ATTEMPTS = 2
STORAGE_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """What is visible of a channel's actor from outside; times are wall-clock milliseconds.

    doing: the name of the running command ("Chat", "Reset", ...), running since `doing_since_ms`.
    waiting: how many commands wait behind it, the oldest accepted at `oldest_ms`.
    turns: how many turns have ended since the actor was spawned.
    suspended_s: for how many seconds more the actor is suspended.
    """

    channel_id: str
    doing: str | None
    doing_since_ms: int | None
    waiting: int
    oldest_ms: int | None
    turns: int
    suspended_s: float


class ChannelActor:
    """Outsiders `tell`, `stop` and `drain` it; nobody reaches into it.

    `on_done` is called once for each command that has left the actor. An actor that is not
    `suspendable` speaks for one completion, and its crashes are not its channel's.
    """

    __slots__ = (
        "__weakref__",
        "_cache",
        "_context",
        "_draining",
        "_mailbox",
        "_on_done",
        "_pausing",
        "_restarts",
        "_task",
        "_turn",
        "_turns",
        "channel_id",
    )

    def __init__(
        self,
        channel_id: str,
        context: ActorContext,
        mailbox: Mailbox,
        on_done: Callable[[ChannelActor, Envelope], None],
        *,
        suspendable: bool = True,
    ) -> None:
        self.channel_id = channel_id
        self._context = context
        self._mailbox = mailbox
        self._on_done = on_done
        self._cache = ConversationCache(channel_id, context.database)
        self._restarts = RestartPolicy(channel_id, context, suspendable=suspendable)
        self._turn: RunningTurn | None = None
        self._turns = 0
        self._pausing = False
        self._draining = False
        self._task: asyncio.Task[None] | None = None

    # What outsiders call.

    @property
    def idle(self) -> bool:
        return self._task is None

    @property
    def changed(self) -> bool:
        """Whether the conversation has gone on since its latest snapshot."""
        return self._cache.changed

    def suspend_until(self, until_ms: int) -> None:
        """Take up a suspension from before a restart."""
        self._restarts.suspend_until(until_ms)

    def has(self, request_id: str) -> bool:
        """Whether this request waits here, or is being worked on."""
        current = self.current
        return request_id in self._mailbox or (
            current is not None and current.request.request_id == request_id
        )

    @property
    def unconcerned(self) -> bool:
        """Whether nothing is to be done here, and nothing was ever wrong."""
        return self._task is None and not self._restarts.suspended

    def status(self) -> ChannelStatus:
        turn = self._turn
        return ChannelStatus(
            channel_id=self.channel_id,
            doing=type(turn.envelope.request.command).__name__ if turn else None,
            doing_since_ms=(turn.started_ms or turn.envelope.accepted_ms) if turn else None,
            waiting=len(self._mailbox),
            oldest_ms=self._mailbox.oldest_ms,
            turns=self._turns,
            suspended_s=self._restarts.suspended_for_s(),
        )

    def set_limits(self, limit: int, limit_bytes: int) -> None:
        """New limits of the mailbox."""
        self._mailbox.set_limits(limit, limit_bytes)

    def check_room(self, size_bytes: int) -> None:
        """Raises Busy or Suspended where a command cannot be taken now."""
        if wait_s := self._restarts.suspended_for_s():
            raise Suspended(
                "This channel failed too often and rests for a while.", retry_after_s=wait_s
            )
        self._mailbox.check_room(size_bytes)

    def tell(self, envelope: Envelope) -> None:
        self._mailbox.put(envelope)
        if self._task is None and not self._draining:
            self._take()
            self._task = asyncio.create_task(self._run(), name=f"channel {self.channel_id[:40]}")

    @property
    def current(self) -> Envelope | None:
        """What the actor works on."""
        return self._turn.envelope if self._turn else None

    def stop(self) -> bool:
        """Cut off the answer being written; False where there is none."""
        return self._turn is not None and self._turn.stop()

    def erase(self, request_ids: Collection[str]) -> None:
        """These were erased: each comes to `cancelled` in its turn, and nothing more is kept."""
        self._mailbox.erase(request_ids)
        if self._turn is not None and self._turn.envelope.request.request_id in request_ids:
            self._turn.erase()

    def forget(self) -> None:
        """The history was changed: what is known of it, or being read just now, is read anew."""
        self._cache.forget()

    async def snapshot(self) -> None:
        """Store the conversation; on return it is committed up to where it stood at the call."""
        await self._cache.snapshot()

    def drain(self) -> asyncio.Task[None] | None:
        """Finish the turn in hand and take no further one; the task that does it, if any."""
        self._draining = True
        if self._task is not None and self._pausing:
            self._task.cancel()  # there is no turn in hand to wait for
        return self._task

    async def leave(self) -> None:
        """After the drain: what waits is on disk; a sender whose message is not hears so."""
        while len(self._mailbox):
            await self._accepted(self._mailbox.take())

    # One turn after the other.

    async def _run(self) -> None:
        if wait_s := self._restarts.suspended_for_s():
            await self._pause(wait_s)
        while self._turn is not None:
            await self._carry_through(self._turn)
            self._turns += 1
            self._on_done(self, self._turn.envelope)
            self._turn = None
            if len(self._mailbox) and not self._draining:
                self._take()
        self._task = None

    def _take(self) -> None:
        """The next command is in hand."""
        self._turn = RunningTurn(self._mailbox.take(), self._context, self._cache)

    async def _carry_through(self, turn: RunningTurn) -> None:
        """Handle until it succeeds: the attempts are counted on disk, and they end."""
        while True:
            try:
                await self.handle(turn)
            except StorageUnavailable:
                pause_s = STORAGE_PAUSE_S
            except Exception:  # the actor's edge: a crash touches no other channel
                log.exception("The actor of channel %.80r crashed.", self.channel_id)
                pause_s = await self._restarts.crashed()
            else:
                await self._restarts.succeeded()
                return
            self._cache.drop()  # history has the truth
            await self._pause(pause_s)

    async def _pause(self, pause_s: float) -> None:
        self._pausing = True
        await asyncio.sleep(pause_s)
        self._pausing = False

    async def handle(self, turn: RunningTurn) -> None:
        """One turn, from a command on its way to disk to its published outcome."""
        row_id = await self._accepted(turn.envelope)
        if row_id is None:
            return
        attempts = await self._count_attempt(row_id, turn)
        if not attempts:
            await self._publish_again(turn)
            return
        turn.begin()
        result = await self._result(turn, attempts)
        turn.settling = True
        try:
            settled = await self._settle(row_id, turn, result)
        finally:
            turn.settling = False
        if turn.erased:
            result = turn_result.erased(turn.envelope.request)
        if settled is not None:
            self._cache.apply(result.rows, settled.upto)
            self._context.sink.publish(settled)
            turnlog.settled(turn.envelope, result)
            if turn.span is not None:
                turn.span.settled(result)
        self._count(turn, result.outcome)

    async def _count_attempt(self, row_id: int, turn: RunningTurn) -> int:
        """Which attempt this is, counted on disk before the provider is called; 0: it is settled.

        The first one of a command that need not wait was counted when it was accepted.
        """
        if turn.attempted:
            turn.attempted = False
            return 1
        return await self._context.database.write(partial(mailboxes.take, row_id=row_id))

    async def _result(self, turn: RunningTurn, attempts: int) -> TurnResult:
        if attempts > MAX_ATTEMPTS:
            failure = Internal("This message could not be handled.")
            return turn_result.failed(turn.envelope.request, failure)
        if turn.erased:
            return turn_result.erased(turn.envelope.request)
        return await turn.run()

    async def _accepted(self, envelope: Envelope) -> int | None:
        """The mailbox row's id; None where there is nothing (more) to do."""
        request = envelope.request
        try:
            acceptance = await envelope.accepted
        except StorageUnavailable as exc:
            failure = Failure(
                request.channel_id, request.request_id, "busy", str(exc), retry_after_s=5.0
            )
            self._context.sink.refuse(failure, request.replies)
            return None
        if isinstance(acceptance, Accepted):
            return acceptance.id
        if isinstance(acceptance, Settled):
            self._context.sink.publish(acceptance)
        return None

    async def _publish_again(self, turn: RunningTurn) -> None:
        """The command was settled, but we crashed before its outcome was published."""
        request = turn.envelope.request
        find = partial(
            mailboxes.find_settled,
            channel=request.channel_id,
            request_id=request.request_id,
            replies=request.replies,
        )
        if settled := await self._context.database.write(find):
            self._context.sink.publish(settled)
            self._count(turn, outcomes.decode(settled.body))

    def _count(self, turn: RunningTurn, outcome: Answer | Failure) -> None:
        """Once for each command that was accepted, when its outcome is committed and handed on."""
        now = now_ms()
        started_ms = turn.started_ms or now
        wait_ms = started_ms - turn.envelope.accepted_ms
        self._context.counts.turn_ended(outcome, wait_ms, now - started_ms)

    async def _settle(self, row_id: int, turn: RunningTurn, result: TurnResult) -> Settled | None:
        """Commit the turn. An answer has cost time and money: it is kept until the disk takes it.

        Repeating a doubtful commit is safe, since it takes effect only while the row waits. One
        that has been erased by now is kept as that.
        """
        request = turn.envelope.request
        while True:
            if turn.erased:
                result = turn_result.erased(request)
            settle = partial(
                mailboxes.settle,
                row_id=row_id,
                channel=request.channel_id,
                request_id=request.request_id,
                rows=result.rows,
                kind=result.outcome.kind,
                body=result.outcome.encode(),
                now_ms=now_ms(),
            )
            try:
                return await self._context.database.write(settle)
            except StorageUnavailable:
                await asyncio.sleep(STORAGE_PAUSE_S)
