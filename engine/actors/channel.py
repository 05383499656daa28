"""A channel's actor: its mailbox, its conversation, and one turn at a time.

Its task lives only while there is work. A turn goes through phases, each durable before the next:
accepted, attempted, settled, published (`storage/mailboxes.py` says what a crash leaves of each).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from functools import partial

from engine.actors.memory import Memory
from engine.actors.restarts import Restarts
from engine.actors.status import ChannelStatus
from engine.actors.surroundings import Surroundings
from engine.actors.work import Work
from engine.answering import turn_result as turn_result
from engine.answering.turn_result import TurnResult
from engine.clock import now_ms
from engine.commands import outcomes
from engine.commands.outcomes import Answer, Failure
from engine.errors import Internal, Suspended
from engine.mailbox import Envelope, Mailbox
from engine.telemetry import turnlog
from storage import mailboxes
from storage.errors import StorageUnavailable
from storage.mailboxes import Accepted, Settled

log = logging.getLogger("rosey_llm.channel")
MAX_ATTEMPTS = 2
STORAGE_PAUSE_S = 1.0


class ChannelActor:
    """Outsiders `tell`, `stop` and `drain` it; nobody reaches into it.

    `on_done` is called once for each command that has left the actor. An actor that is not
    `suspendable` speaks for one completion, and its crashes are not its channel's.
    """

    __slots__ = (
        "__weakref__",
        "_around",
        "_draining",
        "_mailbox",
        "_memory",
        "_on_done",
        "_pausing",
        "_restarts",
        "_task",
        "_turns",
        "_work",
        "channel_id",
    )

    def __init__(
        self,
        channel_id: str,
        around: Surroundings,
        mailbox: Mailbox,
        on_done: Callable[[ChannelActor, Envelope], None],
        *,
        suspendable: bool = True,
    ) -> None:
        self.channel_id = channel_id
        self._around = around
        self._mailbox = mailbox
        self._on_done = on_done
        self._memory = Memory(channel_id, around.database)
        self._restarts = Restarts(channel_id, around, suspendable=suspendable)
        self._work: Work | None = None
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
        return self._memory.changed

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
        work = self._work
        return ChannelStatus(
            channel_id=self.channel_id,
            doing=type(work.envelope.request.command).__name__ if work else None,
            doing_since_ms=(work.started_ms or work.envelope.accepted_ms) if work else None,
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
        return self._work.envelope if self._work else None

    def stop(self) -> bool:
        """Cut off the answer being written; False where there is none."""
        return self._work is not None and self._work.stop()

    def void(self, request_ids: Collection[str]) -> None:
        """These were erased: each comes to `cancelled` in its turn, and nothing more is kept."""
        self._mailbox.void(request_ids)
        if self._work is not None and self._work.envelope.request.request_id in request_ids:
            self._work.void()

    def forget(self) -> None:
        """The history was changed: what is known of it, or being read just now, is read anew."""
        self._memory.forget()

    async def snapshot(self) -> None:
        """Store the conversation; on return it is committed up to where it stood at the call."""
        await self._memory.snapshot()

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
        while self._work is not None:
            await self._carry_through(self._work)
            self._turns += 1
            self._on_done(self, self._work.envelope)
            self._work = None
            if len(self._mailbox) and not self._draining:
                self._take()
        self._task = None

    def _take(self) -> None:
        """The next command is in hand."""
        self._work = Work(self._mailbox.take(), self._around, self._memory)

    async def _carry_through(self, work: Work) -> None:
        """Handle until it succeeds: the attempts are counted on disk, and they end."""
        while True:
            try:
                await self.handle(work)
            except StorageUnavailable:
                pause_s = STORAGE_PAUSE_S
            except Exception:  # the actor's edge: a crash touches no other channel
                log.exception("The actor of channel %.80r crashed.", self.channel_id)
                pause_s = await self._restarts.crashed()
            else:
                await self._restarts.succeeded()
                return
            self._memory.drop()  # history has the truth
            await self._pause(pause_s)

    async def _pause(self, pause_s: float) -> None:
        self._pausing = True
        await asyncio.sleep(pause_s)
        self._pausing = False

    async def handle(self, work: Work) -> None:
        """One turn, from a command on its way to disk to its published outcome."""
        row_id = await self._accepted(work.envelope)
        if row_id is None:
            return
        attempts = await self._count_attempt(row_id, work)
        if not attempts:
            await self._publish_again(work)
            return
        work.begin()
        turn = await self._turn(work, attempts)
        work.settling = True
        try:
            settled = await self._settle(row_id, work, turn)
        finally:
            work.settling = False
        if work.voided:
            turn = turn_result.erased(work.envelope.request)
        if settled is not None:
            self._memory.apply(turn.rows, settled.upto)
            self._around.sink.publish(settled)
            turnlog.settled(work.envelope, turn)
            if work.span is not None:
                work.span.settled(turn)
        self._count(work, turn.outcome)

    async def _count_attempt(self, row_id: int, work: Work) -> int:
        """Which attempt this is, counted on disk before the provider is called; 0: it is settled.

        The first one of a command that need not wait was counted when it was accepted.
        """
        if work.attempted:
            work.attempted = False
            return 1
        return await self._around.database.write(partial(mailboxes.take, row_id=row_id))

    async def _turn(self, work: Work, attempts: int) -> TurnResult:
        if attempts > MAX_ATTEMPTS:
            failure = Internal("This message could not be handled.")
            return turn_result.failed(work.envelope.request, failure)
        if work.voided:
            return turn_result.erased(work.envelope.request)
        return await work.turn()

    async def _accepted(self, envelope: Envelope) -> int | None:
        """The mailbox row's id; None where there is nothing (more) to do."""
        request = envelope.request
        try:
            acceptance = await envelope.accepted
        except StorageUnavailable as exc:
            failure = Failure(
                request.channel_id, request.request_id, "busy", str(exc), retry_after_s=5.0
            )
            self._around.sink.refuse(failure, request.replies)
            return None
        if isinstance(acceptance, Accepted):
            return acceptance.id
        if isinstance(acceptance, Settled):
            self._around.sink.publish(acceptance)
        return None

    async def _publish_again(self, work: Work) -> None:
        """The command was settled, but we crashed before its outcome was published."""
        request = work.envelope.request
        find = partial(
            mailboxes.find_settled,
            channel=request.channel_id,
            request_id=request.request_id,
            replies=request.replies,
        )
        if settled := await self._around.database.write(find):
            self._around.sink.publish(settled)
            self._count(work, outcomes.decode(settled.body))

    def _count(self, work: Work, outcome: Answer | Failure) -> None:
        """Once for each command that was accepted, when its outcome is committed and handed on."""
        now = now_ms()
        started_ms = work.started_ms or now
        wait_ms = started_ms - work.envelope.accepted_ms
        self._around.counts.turn_ended(outcome, wait_ms, now - started_ms)

    async def _settle(self, row_id: int, work: Work, turn: TurnResult) -> Settled | None:
        """Commit the turn. An answer has cost time and money: it is kept until the disk takes it.

        Repeating a doubtful commit is safe, since it takes effect only while the row waits. One
        that has been erased by now is kept as that.
        """
        request = work.envelope.request
        while True:
            if work.voided:
                turn = turn_result.erased(request)
            settle = partial(
                mailboxes.settle,
                row_id=row_id,
                channel=request.channel_id,
                request_id=request.request_id,
                rows=turn.rows,
                kind=turn.outcome.kind,
                body=turn.outcome.encode(),
                now_ms=now_ms(),
            )
            try:
                return await self._around.database.write(settle)
            except StorageUnavailable:
                await asyncio.sleep(STORAGE_PAUSE_S)
