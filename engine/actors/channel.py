"""The actor of a channel: carries out the commands of its mailbox, one at a time and after crashes.

Its task exists only while there is work. A turn goes through phases, each durable before the next:
accepted, attempted, settled, published (`storage/mailboxes.py` says what a crash leaves of each).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import ceil

from engine.actors.context import ActorContext
from engine.actors.conversation_cache import ConversationCache
from engine.actors.mailbox import Envelope, Mailbox
from engine.actors.restarts import RestartPolicy
from engine.actors.running_turn import RunningTurn
from engine.answering import turn_result
from engine.answering.turn_result import TurnResult
from engine.clock import now_ms
from engine.commands import outcomes
from engine.commands.ledger import Undecided, Void
from engine.commands.observer import SettledTurn
from engine.commands.outcomes import Answer, Failure
from engine.commands.request import Request
from engine.errors import Busy, Internal, Suspended
from engine.texts import sentences
from engine.texts.sentence import Said
from storage.errors import StorageUnavailable
from storage.hash_chain import new_salts
from storage.history import Row
from storage.mailboxes import Accepted
from storage.outbox import Settled

log = logging.getLogger("rosey_llm.channel")
MAX_ATTEMPTS = 2
STORAGE_PAUSE_S = 1.0
STOPS_LIMIT = 8
STOPPED_WITHIN_S = 1.0


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
        "_began_s",
        "_cache",
        "_context",
        "_draining",
        "_mailbox",
        "_on_done",
        "_pausing",
        "_restarts",
        "_task",
        "_turn",
        "_turn_s",
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
        self._began_s = 0.0
        self._turn_s: float | None = None
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

    @property
    def commands(self) -> int:
        """The number of commands that wait or are being carried out."""
        return len(self._mailbox) + (self._turn is not None)

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
            wait_s = self._context.waits.spread(wait_s)
            said = sentences.CHANNEL_SUSPENDED(seconds=ceil(wait_s))
            raise Suspended(said, retry_after_s=wait_s)
        self._mailbox.check_room(size_bytes, self.wait_s)

    def wait_s(self, commands: int) -> float:
        """Return how long a sender should wait if so many of the channel's commands are ahead."""
        waits = self._context.waits
        running_s = waits.clock() - self._began_s if self._turn is not None else 0.0
        return waits.for_channel(commands, self._turn_s, running_s)

    @property
    def outcome_wait_s(self) -> float:
        """How long a sender should wait for the outcome of what waits already."""
        return self.wait_s(len(self._mailbox) + 1)

    def tell(self, envelope: Envelope) -> None:
        """Put a command into the mailbox, and start to work if the actor is idle."""
        self._mailbox.put(envelope)
        if self._task is None and not self._draining:
            self._take()
            self._task = asyncio.create_task(self._run(), name=f"channel {self.channel_id[:40]}")

    def refuse_unstored(self, envelope: Envelope, error: StorageUnavailable) -> None:
        """Refuse a command that could not be stored, if it waits; its turn may be far away."""
        if self._mailbox.remove(envelope):
            self._refuse(envelope.request, _not_written(error))
            self._on_done(self, envelope)

    def stop(self, request: Request) -> bool:
        """Stop the answer that is being written; return False if there is none.

        The outcome of the stop comes with that of the turn. Raises Busy.
        """
        if self._turn is None or not self._turn.stop(request):
            return False
        if len(self._turn.stops) > STOPS_LIMIT:
            self._turn.stops.pop()
            wait_s = self._context.waits.told(STOPPED_WITHIN_S)
            said = sentences.STOPPING_ALREADY(seconds=ceil(wait_s))
            raise Busy(said, retry_after_s=wait_s)
        return True

    def cancel(self, request_id: str) -> bool:
        """Make `cancelled` the outcome of a chat, running or waiting; return whether it runs."""
        self._mailbox.cancel(request_id)
        runs = self._turn is not None and self._turn.envelope.request.request_id == request_id
        if self._turn is not None and runs:
            self._turn.cancel()
        return runs

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
        if self._turn is not None:
            self._refuse_stops(self._turn, sentences.NOT_STOPPED())

    # One turn after another.

    async def _run(self) -> None:
        if wait_s := self._restarts.suspended_for_s():
            await self._pause(wait_s)
        while self._turn is not None:
            await self.handle(self._turn)
            self._turns += 1
            seconds = self._context.waits.clock() - self._began_s
            self._turn_s = self._context.waits.turn_took(seconds, self._turn_s)
            self._on_done(self, self._turn.envelope)
            self._turn = None
            if len(self._mailbox) and not self._draining:
                self._take()
        self._task = None

    def _take(self) -> None:
        """Take the next command out of the mailbox."""
        self._began_s = self._context.waits.clock()
        self._turn = RunningTurn(self._mailbox.take(), self._context, self._cache)

    async def handle(self, turn: RunningTurn) -> None:
        """Carry out one command; again after a crash, until it succeeds.

        A turn waits for acceptance, counts its attempt, runs, settles and is published. Its
        attempts are counted on disk, so they end.
        """
        while True:
            try:
                row_id = await self._accepted(turn.envelope)
                if row_id is not None:
                    attempts = await self._count_attempt(row_id, turn)
                    self._context.held.release(turn)
                    if attempts:
                        result = self._unasked(turn, attempts) or await turn.run()
                        await self._settle(row_id, turn, result)
                    else:
                        await self._publish_again(turn)
            except StorageUnavailable as exc:
                self._context.held.hold(turn, exc)
                self._refuse_stops(turn, _not_written(exc))
                pause_s = STORAGE_PAUSE_S
            except Exception:  # the actor's edge: a crash touches no other channel
                log.exception(
                    "The actor of channel %(channel).80r crashed.",
                    {
                        "event": "channel.crashed",
                        "channel": self.channel_id,
                        "request_id": turn.envelope.request.request_id,
                    },
                )
                self._context.held.release(turn)  # it waits for its restart, not for the disk
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

    async def _accepted(self, envelope: Envelope) -> int | None:
        """Wait until the command is stored; return its mailbox row id, None if no turn follows."""
        request = envelope.request
        try:
            acceptance = await envelope.accepted
        except StorageUnavailable as exc:
            self._refuse(request, _not_written(exc))
            return None
        if isinstance(acceptance, Accepted):
            return acceptance.id
        if isinstance(acceptance, Settled):
            self._context.sink.publish(acceptance)
        return None

    def _refuse(self, request: Request, said: Said) -> None:
        wait_s = self._context.waits.told()
        error = self._context.texts.say(self.channel_id, said)
        failure = request.failure(Busy.code, error, wait_s)
        self._context.sink.refuse(failure, request.replies)

    def _refuse_stops(self, turn: RunningTurn, said: Said) -> None:
        """Tell the senders of these stops that their outcome cannot be stored."""
        for stop in turn.stops:
            self._refuse(stop, said)
        turn.stops.clear()

    async def _count_attempt(self, row_id: int, turn: RunningTurn) -> int:
        """Count this attempt on disk, before the provider is called; return its number.

        0 means that the command is settled already. For a command that did not have to wait, the
        first attempt was counted when it was accepted.
        """
        if turn.attempted:
            turn.attempted = False
            return 1
        return await self._context.ledger.attempt(row_id)

    def _unasked(self, turn: RunningTurn, attempts: int) -> TurnResult | None:
        """Begin the turn; return its result if the command is not to be carried out."""
        turn.begin()
        request = turn.envelope.request
        if attempts > MAX_ATTEMPTS:
            failure = Internal(sentences.NOT_HANDLED())
            return turn_result.failed(request, failure, self._context.texts)
        return turn_result.erased(request, self._context.texts) if turn.erased else None

    async def _settle(self, row_id: int, turn: RunningTurn, result: TurnResult) -> None:
        """Commit the turn, then publish its outcome."""
        turn.settling = True
        try:
            settled = await self._commit(row_id, turn, result)
        finally:
            turn.settling = False
        result = turn.unless_erased(result)
        if isinstance(settled, Settled):
            self._cache.apply(result.rows, settled.upto)
            self._context.sink.publish(settled)
            self._note_settled(turn, result.outcome, result.rows)
            for stop, outcome in zip(turn.stops, settled.stops, strict=True):
                self._context.sink.publish(outcome)
                self._context.observer.settled_at_once(stop)
        else:
            self._note_settled(turn, result.outcome, ())
            for stop in turn.stops:
                self._context.sink.inform(
                    turn_result.nothing_to_stop(stop, self._context.texts), stop.replies
                )

    async def _commit(self, row_id: int, turn: RunningTurn, result: TurnResult) -> Settled | Void:
        """Settle until it is decided: an answer has cost time and money, so it is kept."""
        request, held = turn.envelope.request, self._context.held
        while True:
            result = turn.unless_erased(result)
            stops = [turn_result.stopped(stop, self._context.texts) for stop in turn.stops]
            try:
                settled = await self._context.ledger.settle(
                    row_id,
                    request,
                    result.rows,
                    result.outcome,
                    now_ms=now_ms(),
                    salts=new_salts(len(result.rows) + len(stops)),
                    stops=stops,
                    charge=result.charge,
                )
            except Undecided as exc:
                held.hold(turn, exc)
                self._refuse_stops(turn, _not_written(exc))
                await asyncio.sleep(STORAGE_PAUSE_S)
            else:
                held.release(turn)
                return settled

    async def _publish_again(self, turn: RunningTurn) -> None:
        """Publish the outcome of a command that was settled before a crash."""
        if settled := await self._context.ledger.find(turn.envelope.request):
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


def _not_written(error: StorageUnavailable) -> Said:
    return sentences.NOT_WRITTEN(error=str(error))
