"""The actor of a channel: it takes commands from its mailbox and carries out one at a time.

Its task exists only while there is work. A turn goes through phases, each durable before the next:
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
from engine.commands.observer import SettledTurn
from engine.commands.outcomes import Answer, Failure
from engine.errors import Internal, Suspended
from storage import mailboxes
from storage.errors import StorageUnavailable
from storage.history import Row
from storage.mailboxes import Accepted, Settled

log = logging.getLogger("rosey_llm.channel")
MAX_ATTEMPTS = 2
STORAGE_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """A channel's actor as seen from outside; times are wall-clock milliseconds.

    doing: the name of the running command ("Chat", "Reset", ...), running since `doing_since_ms`.
    waiting: the number of commands that wait behind it, the oldest accepted at `oldest_ms`.
    turns: the number of turns that have ended since the actor was spawned.
    suspended_s: the seconds until the actor's suspension ends; 0.0 if it is not suspended.
    """

    channel_id: str
    doing: str | None
    doing_since_ms: int | None
    waiting: int
    oldest_ms: int | None
    turns: int
    suspended_s: float


class ChannelActor:
    """An actor that carries out the commands of one channel, one turn at a time.

    Other parts `tell`, `stop` and `drain` it; none reads or changes its state.

    on_done: called once for each command that the actor has finished.
    suspendable: False for an actor that makes one completion; its crashes do not suspend the
        channel.
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

    # Called by other parts.

    @property
    def idle(self) -> bool:
        """Whether no turn runs and no command waits."""
        return self._task is None

    @property
    def at_rest(self) -> bool:
        """Whether the actor is idle and not suspended, or a turn has succeeded since it was."""
        return self._task is None and not self._restarts.suspended

    @property
    def changed(self) -> bool:
        """Whether the conversation has changed since its latest snapshot."""
        return self._cache.changed

    @property
    def current(self) -> Envelope | None:
        """The command that is being carried out."""
        return self._turn.envelope if self._turn else None

    def has(self, request_id: str) -> bool:
        """Return whether this request waits in the mailbox or is being carried out."""
        current = self.current
        return request_id in self._mailbox or (
            current is not None and current.request.request_id == request_id
        )

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
        """Set the limits of the mailbox."""
        self._mailbox.set_limits(limit, limit_bytes)

    def suspend_until(self, until_ms: int) -> None:
        """Restore a suspension from before a restart of the service; 0 means none."""
        self._restarts.suspend_until(until_ms)

    def check_room(self, size_bytes: int) -> None:
        """Raise Busy or Suspended if a command of this size cannot be taken now."""
        if wait_s := self._restarts.suspended_for_s():
            raise Suspended(
                "This channel failed too often and rests for a while.", retry_after_s=wait_s
            )
        self._mailbox.check_room(size_bytes)

    def tell(self, envelope: Envelope) -> None:
        """Put a command into the mailbox, and start to work if the actor is idle."""
        self._mailbox.put(envelope)
        if self._task is None and not self._draining:
            self._take()
            self._task = asyncio.create_task(self._run(), name=f"channel {self.channel_id[:40]}")

    def stop(self) -> bool:
        """Stop the answer that is being written; return False if there is none."""
        return self._turn is not None and self._turn.stop()

    def erase(self, request_ids: Collection[str]) -> None:
        """Erase these commands: the outcome of each is `cancelled`, and nothing else is kept."""
        self._mailbox.erase(request_ids)
        if self._turn is not None and self._turn.envelope.request.request_id in request_ids:
            self._turn.erase()

    def forget(self) -> None:
        """Drop the cached conversation, even if it is being read now: the history was changed."""
        self._cache.forget()

    async def snapshot(self) -> None:
        """Commit a snapshot of the conversation as it is at the call."""
        await self._cache.snapshot()

    def drain(self) -> asyncio.Task[None] | None:
        """Take no more commands; return the task that finishes the running turn, None if idle."""
        self._draining = True
        if self._task is not None and self._pausing:
            self._task.cancel()  # it only waits; no turn is running
        return self._task

    async def leave(self) -> None:
        """Empty the mailbox after the drain, and refuse the commands that could not be stored.

        The others are on disk and continue after a restart.
        """
        while len(self._mailbox):
            await self._accepted(self._mailbox.take())

    # One turn after another.

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
        """Take the next command from the mailbox as the running turn."""
        self._turn = RunningTurn(self._mailbox.take(), self._context, self._cache)

    async def _carry_through(self, turn: RunningTurn) -> None:
        """Repeat a turn until it succeeds; after MAX_ATTEMPTS its outcome is a failure."""
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
            self._cache.drop()  # it may be ahead of the committed history
            await self._pause(pause_s)

    async def _pause(self, pause_s: float) -> None:
        self._pausing = True
        await asyncio.sleep(pause_s)
        self._pausing = False

    async def handle(self, turn: RunningTurn) -> None:
        """Carry out one turn: wait for acceptance, count the attempt, run, settle, publish."""
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
        result = turn.unless_erased(result)
        if settled is not None:
            self._cache.apply(result.rows, settled.upto)
            self._context.sink.publish(settled)
        self._note_settled(turn, result.outcome, result.rows if settled is not None else ())

    async def _count_attempt(self, row_id: int, turn: RunningTurn) -> int:
        """Count this attempt on disk, before the provider is called; return its number.

        0 means that the command is settled already. For a command that did not have to wait, the
        first attempt was counted when it was accepted.
        """
        if turn.attempted:
            turn.attempted = False
            return 1
        return await self._context.database.write(partial(mailboxes.take, row_id=row_id))

    async def _result(self, turn: RunningTurn, attempts: int) -> TurnResult:
        request = turn.envelope.request
        if attempts > MAX_ATTEMPTS:
            return turn_result.failed(request, Internal("This message could not be handled."))
        if turn.erased:
            return turn_result.erased(request)
        return await turn.run()

    async def _accepted(self, envelope: Envelope) -> int | None:
        """Wait until the command is stored; return its mailbox row id, None if no turn follows."""
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
        """Publish the outcome of a command that was settled before a crash."""
        request = turn.envelope.request
        find = partial(
            mailboxes.find_settled,
            channel=request.channel_id,
            request_id=request.request_id,
            replies=request.replies,
        )
        if settled := await self._context.database.write(find):
            self._context.sink.publish(settled)
            self._note_settled(turn, outcomes.decode(settled.body), ())

    def _note_settled(
        self, turn: RunningTurn, outcome: Answer | Failure, rows: tuple[Row, ...]
    ) -> None:
        now = now_ms()
        envelope = turn.envelope
        self._context.observer.settled(
            SettledTurn(
                envelope.request, outcome, rows, envelope.accepted_ms, turn.started_ms or now, now
            )
        )

    async def _settle(self, row_id: int, turn: RunningTurn, result: TurnResult) -> Settled | None:
        """Commit the turn; return None if the command has got another outcome meanwhile.

        An answer has cost time and money, so this tries again until the disk takes it. Repeating a
        commit that may have succeeded is safe: it has an effect only while the mailbox row exists.
        """
        request = turn.envelope.request
        while True:
            result = turn.unless_erased(result)
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
