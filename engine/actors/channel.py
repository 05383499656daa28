"""The actor of a channel: carries out the commands of its mailbox, one at a time and after crashes.

Its task exists only while there is work. A turn goes through phases, each durable before the next:
accepted, attempted, settled, published (`storage/mailboxes.py` says what a crash leaves of each).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from functools import partial
from math import ceil

from engine.actors import acceptance
from engine.actors.channel_status import ChannelStatus
from engine.actors.context import ActorContext
from engine.actors.conversation_cache import ConversationCache
from engine.actors.mailbox import Envelope, Mailbox
from engine.actors.mailbox_limits import MailboxLimits
from engine.actors.restarts import RestartPolicy
from engine.actors.running_turn import RunningTurn
from engine.actors.stop_order import StopOrder
from engine.actors.turn_settlement import STORAGE_PAUSE_S, TurnSettlement
from engine.answering.turn_result import TurnResult
from engine.commands.records import Stop
from engine.commands.request import Request
from engine.commands.sender import sender_of
from engine.errors import Internal, Suspended
from engine.texts import sentences
from storage.errors import StorageUnavailable

log = logging.getLogger("rosey_llm.channel")
MAX_ATTEMPTS = 2


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
        "_settlement",
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
        self._settlement = TurnSettlement(context, self._cache)
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
        return self._task is None and not self._mailbox

    @property
    def at_rest(self) -> bool:
        """Whether the actor is idle and not suspended, or a turn has succeeded since it was."""
        return self.idle and not self._restarts.suspended

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

    def set_limits(self, limits: MailboxLimits) -> None:
        """Set the limits of the mailbox."""
        self._mailbox.set_limits(limits)

    def suspend_until(self, until_ms: int) -> None:
        """Restore a suspension from before a restart of the service; 0 means none."""
        self._restarts.suspend_until(until_ms)

    def check_room(self, size_bytes: int, sender: str | None, *, is_control: bool) -> None:
        """Raise Busy or Suspended if a command of this size and sender cannot be taken now."""
        if wait_s := self._restarts.suspended_for_s():
            wait_s = self._context.waits.spread(wait_s)
            said = sentences.CHANNEL_SUSPENDED(seconds=ceil(wait_s))
            raise Suspended(said, retry_after_s=wait_s)
        running = self._turn.envelope.sender if self._turn is not None else None
        self._mailbox.check_room(
            size_bytes, self.wait_s, sender, running=running, is_control=is_control
        )

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
        self._go_on()

    def _go_on(self) -> None:
        """Start to work if there is a command to take, and nothing is done yet."""
        if self._task is None and self._mailbox.is_ready and not self._draining:
            self._take()
            self._task = asyncio.create_task(self._run(), name=f"channel {self.channel_id[:40]}")

    def refuse_unstored(self, envelope: Envelope, error: StorageUnavailable) -> None:
        """Refuse a command that could not be stored, if it waits; its turn may be far away."""
        if self._mailbox.remove(envelope):
            acceptance.refuse_unwritten(self._context, envelope.request, error)
            self._on_done(self, envelope)

    def waiting_of(self, stop: Request) -> list[str]:
        """Return the ids of the waiting requests that a stop drops."""
        everything = isinstance(stop.command, Stop) and stop.command.everything
        return self._mailbox.waiting_of(sender_of(stop), everything=everything)

    def stop(self, request: Request, dropping: Collection[str]) -> bool:
        """Stop the answer that is being written; return False if there is none.

        The outcome of the stop, and of the waiting requests that it drops, come with that of the
        turn. Raises Busy.
        """
        return self._turn is not None and self._turn.stop(
            partial(self._new_order, request, dropping)
        )

    async def drop(self, request: Request, dropping: Collection[str]) -> bool:
        """Carry out a stop that only drops waiting requests; return False if none of them waits.

        Raises StorageUnavailable.
        """
        order = self._new_order(request, dropping)
        if order.is_empty:
            return False
        await order.carry_out(self._context)
        return True

    def _new_order(self, request: Request, dropping: Collection[str]) -> StopOrder:
        on_done = partial(self._on_done, self)
        return StopOrder(request, self._mailbox, dropping, on_done, self._go_on)

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
        while self._mailbox:
            await acceptance.stored_row(self._context, self._mailbox.take())
        if self._turn is not None:
            self._turn.refuse_stops(sentences.NOT_STOPPED())

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
            if self._mailbox.is_ready and not self._draining:
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
                row_id = await acceptance.stored_row(self._context, turn.envelope)
                if row_id is not None:
                    attempts = await self._settlement.count_attempt(row_id, turn)
                    self._context.held.release(turn)
                    if attempts:
                        result = self._unasked(turn, attempts) or await turn.run()
                        await self._settlement.settle(row_id, turn, result)
                    else:
                        await self._settlement.publish_again(turn)
            except StorageUnavailable as exc:
                self._context.held.hold(turn, exc)
                turn.refuse_stops(acceptance.not_written(exc))
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
            turn.close_account()
            self._cache.drop()  # it may be ahead of the committed history
            await self._pause(pause_s)

    async def _pause(self, pause_s: float) -> None:
        self._pausing = True
        await asyncio.sleep(pause_s)
        self._pausing = False

    def _unasked(self, turn: RunningTurn, attempts: int) -> TurnResult | None:
        """Begin the turn; return its result if the command is not to be carried out."""
        turn.begin(attempts)
        if attempts > MAX_ATTEMPTS or turn.erased:
            return turn.failed(Internal(sentences.NOT_HANDLED()))
        return None
