"""A channel's actor: its mailbox, its conversation, and one turn at a time.

Its task lives only while there is work. A turn goes through phases, each durable before the next:
accepted, attempted, settled, published (`storage/mailboxes.py` says what a crash leaves of each).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING

from engine import outcomes
from engine.actors import turn as turns
from engine.actors.asking import Asking
from engine.actors.conversation import Conversation, SmallerWindow
from engine.actors.crashes import Crashes
from engine.actors.status import ChannelStatus
from engine.actors.surroundings import Surroundings, Terms, now_ms
from engine.actors.turn import Turn
from engine.commands.help import HELP
from engine.commands.kinds import (
    Chat,
    Complete,
    Erased,
    Help,
    Reset,
    SetPersona,
    ShowPersonas,
    Stop,
)
from engine.errors import Internal, Suspended, UnknownPersona
from engine.mailbox import Envelope, Mailbox, Request
from engine.outcomes import Answer, Failure
from engine.telemetry import turnlog
from providers import trace
from storage import mailboxes, snapshots, suspensions
from storage.database import Write
from storage.errors import StorageUnavailable
from storage.history import Row
from storage.mailboxes import Accepted, Settled

if TYPE_CHECKING:
    from engine.telemetry.spans import TurnSpan

log = logging.getLogger("rosey_llm.channel")
MAX_ATTEMPTS = 2
STORAGE_PAUSE_S = 1.0


class ChannelActor:
    """Outsiders `tell`, `stop` and `drain` it; nobody reaches into it.

    `on_done` is called once for each command that has left the actor. An actor that is not
    `suspendable` speaks for one completion, and its crashes are not its channel's.
    """

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
        self._crashes = Crashes()
        self._suspendable = suspendable
        self._conversation: Conversation | None = None
        self._snapshot_upto = 0
        self._forgotten = 0
        self._current: Envelope | None = None
        self._asking: Asking | None = None
        self._started_ms = 0
        self._turns = 0
        self._stopped = False
        self._voided = False
        self._settling = False
        self._pausing = False
        self._draining = False
        self._span: TurnSpan | None = None
        self._task: asyncio.Task[None] | None = None

    # What outsiders call.

    @property
    def idle(self) -> bool:
        return self._task is None

    @property
    def changed(self) -> bool:
        """Whether the conversation has gone on since its latest snapshot."""
        return self._conversation is not None and self._conversation.upto > self._snapshot_upto

    def suspend_until(self, until_ms: int) -> None:
        """Take up a suspension from before a restart."""
        self._crashes.suspended_until_ms = until_ms

    def has(self, request_id: str) -> bool:
        """Whether this request waits here, or is being worked on."""
        current = self._current
        return request_id in self._mailbox or (
            current is not None and current.request.request_id == request_id
        )

    @property
    def unconcerned(self) -> bool:
        """Whether nothing is to be done here, and nothing was ever wrong."""
        return self._task is None and not self._crashes.suspended_until_ms

    def status(self) -> ChannelStatus:
        current, suspended_s = self._current, self._crashes.suspended_for_s()
        return ChannelStatus(
            channel_id=self.channel_id,
            doing=type(current.request.command).__name__ if current else None,
            doing_since_ms=(self._started_ms or current.accepted_ms) if current else None,
            waiting=len(self._mailbox),
            oldest_ms=self._mailbox.oldest_ms,
            turns=self._turns,
            suspended_s=suspended_s,
        )

    def set_limits(self, limit: int, limit_bytes: int) -> None:
        """New limits of the mailbox."""
        self._mailbox.set_limits(limit, limit_bytes)

    def check_room(self, size_bytes: int) -> None:
        """Raises Busy or Suspended where a command cannot be taken now."""
        if wait_s := self._crashes.suspended_for_s():
            raise Suspended(
                "This channel failed too often and rests for a while.", retry_after_s=wait_s
            )
        self._mailbox.check_room(size_bytes)

    def tell(self, envelope: Envelope) -> None:
        self._mailbox.put(envelope)
        if self._task is None and not self._draining:
            self._current, self._stopped = self._mailbox.take(), False
            self._task = asyncio.create_task(self._run(), name=f"channel {self.channel_id[:40]}")

    @property
    def current(self) -> Envelope | None:
        """What the actor works on."""
        return self._current

    def stop(self) -> bool:
        """Cut off the answer being written; False where there is none."""
        if self._current is None or self._settling:
            return False
        if not isinstance(self._current.request.command, Chat):
            return False
        if self._asking is not None:
            return self._asking.cut()
        self._stopped = True
        return True

    def void(self, request_ids: Collection[str]) -> None:
        """These were erased: each comes to `cancelled` in its turn, and nothing more is kept."""
        self._mailbox.void(request_ids)
        if self._current is not None and self._current.request.request_id in request_ids:
            self._voided = True
            if self._asking is not None:
                self._asking.cut()

    def forget(self) -> None:
        """The history was changed: what is known of it, or being read just now, is read anew."""
        self._conversation = None
        self._snapshot_upto = 0
        self._forgotten += 1

    async def snapshot(self) -> None:
        """Store the conversation; on return it is committed up to where it stood at the call."""
        conversation = self._conversation
        if conversation is None or not self.changed:
            return
        upto, forgotten = conversation.upto, self._forgotten
        save = partial(
            snapshots.save,
            name=self.channel_id,
            upto=upto,
            ts_ms=now_ms(),
            body=conversation.encode(),
        )
        await self._around.database.write(save)
        if forgotten == self._forgotten:
            self._snapshot_upto = max(self._snapshot_upto, upto)

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
        await self._pause(self._crashes.suspended_for_s())
        while self._current is not None:
            self._started_ms = 0
            await self._carry_through(self._current)
            self._turns += 1
            self._on_done(self, self._current)
            more = len(self._mailbox) and not self._draining
            self._current = self._mailbox.take() if more else None
            self._stopped = self._voided = False
            self._span = None
        self._task = None

    async def _carry_through(self, envelope: Envelope) -> None:
        """Handle until it succeeds: the attempts are counted on disk, and they end."""
        while True:
            try:
                await self.handle(envelope)
            except StorageUnavailable:
                pause_s = STORAGE_PAUSE_S
            except Exception:  # the actor's edge: a crash touches no other channel
                log.exception("The actor of channel %.80r crashed.", self.channel_id)
                pause_s = await self._note_crash()
            else:
                await self._note_success()
                return
            # Memory may be ahead of what was committed, or wrong: history has the truth.
            self._conversation = None
            await self._pause(pause_s)

    async def _pause(self, pause_s: float) -> None:
        self._pausing = True
        await asyncio.sleep(pause_s)
        self._pausing = False

    async def _note_crash(self) -> float:
        """How long to wait before the next attempt. A suspension is kept over a restart."""
        pause_s = self._crashes.add()
        until_ms = self._crashes.suspended_until_ms
        self._around.counts.actor_crashed(suspended=bool(until_ms and self._suspendable))
        if until_ms and self._suspendable:
            log.error("Channel %.80r is suspended for %g s.", self.channel_id, pause_s)
            await self._keep(partial(suspensions.save, name=self.channel_id, until_ms=until_ms))
        return pause_s

    async def _note_success(self) -> None:
        if self._crashes.suspended_until_ms and self._suspendable:
            log.warning("Channel %.80r works again.", self.channel_id)
            await self._keep(partial(suspensions.lift, name=self.channel_id))
        self._crashes.clear()

    async def _keep(self, write: Write[None]) -> None:
        with contextlib.suppress(StorageUnavailable):  # then it only does not survive a restart
            await self._around.database.write(write)

    async def handle(self, envelope: Envelope) -> None:
        """One turn, from a command on its way to disk to its published outcome."""
        request = envelope.request
        row_id = await self._accepted(envelope)
        if row_id is None:
            return
        database = self._around.database
        attempts = await database.write(partial(mailboxes.take, row_id=row_id))
        if not attempts:
            await self._publish_again(envelope)
            return
        self._started_ms = now_ms()
        self._take_up_trace(envelope)
        if attempts > MAX_ATTEMPTS:
            turn = turns.failed(request, Internal("This message could not be handled."))
        elif self._voided:
            turn = turns.erased(request)
        else:
            turn = await self._turn(request)
        self._settling = True
        try:
            settled = await self._settle(row_id, request, turn)
        finally:
            self._settling = False
        if self._voided:
            turn = turns.erased(request)
        if settled is not None:
            self._apply(turn.rows, settled.upto)
            self._around.outlet.publish(settled)
            turnlog.settled(envelope, turn)
            if self._span is not None:
                self._span.settled(turn)
        self._count(envelope, turn.outcome)

    def _take_up_trace(self, envelope: Envelope) -> None:
        """What the provider is told of the sender's trace: our span in it, or else the trace."""
        if self._around.spans is not None and self._span is None:
            provider = self._around.terms.chain.primary.name
            self._span = self._around.spans.begin(envelope, provider)
        trace.current.set(self._span.context if self._span else envelope.request.trace)

    async def _accepted(self, envelope: Envelope) -> int | None:
        """The mailbox row's id; None where there is nothing (more) to do."""
        request = envelope.request
        try:
            acceptance = await asyncio.shield(envelope.accepted)
        except StorageUnavailable as exc:
            failure = Failure(
                request.channel_id, request.request_id, "busy", str(exc), retry_after_s=5.0
            )
            self._around.outlet.refuse(failure, request.replies)
            return None
        if isinstance(acceptance, Accepted):
            return acceptance.id
        if isinstance(acceptance, Settled):
            self._around.outlet.publish(acceptance)
        return None

    async def _publish_again(self, envelope: Envelope) -> None:
        """The command was settled, but we crashed before its outcome was published."""
        request = envelope.request
        find = partial(
            mailboxes.find_settled,
            channel=request.channel_id,
            request_id=request.request_id,
            replies=request.replies,
        )
        if settled := await self._around.database.write(find):
            self._around.outlet.publish(settled)
            self._count(envelope, outcomes.decode(settled.body))

    def _count(self, envelope: Envelope, outcome: Answer | Failure) -> None:
        """Once for each command that was accepted, when its outcome is committed and handed on."""
        started_ms = self._started_ms or now_ms()
        wait_ms, took_ms = started_ms - envelope.accepted_ms, now_ms() - started_ms
        self._around.counts.turn_ended(outcome, wait_ms, took_ms)

    async def _turn(self, request: Request) -> Turn:
        terms = self._around.terms
        terms.chain.hold()
        try:
            match request.command:
                case Chat() as command:
                    return await self._chat(request, command, terms)
                case Complete() as command:
                    return await self._complete(request, command, terms)
                case Reset():
                    messages = (await self._awake(terms)).messages
                    text = f"The conversation starts afresh: {messages} messages cleared."
                    return turns.done(request, "reset", text, "reset")
                case SetPersona(name):
                    return self._set_persona(request, name, terms)
                case ShowPersonas():
                    current = _persona_name(await self._awake(terms), terms)
                    text = terms.personas.listing(current)
                    return turns.done(request, "persona", text, "personas")
                case Help():
                    return turns.done(request, "help", HELP, "help")
                case Erased():
                    return turns.erased(request)
                case Stop():
                    raise AssertionError("a stop never waits in a mailbox")
        finally:
            terms.chain.release()

    async def _complete(self, request: Request, command: Complete, terms: Terms) -> Turn:
        try:
            persona = terms.personas.get(command.persona) if command.persona else None
        except UnknownPersona as exc:
            return turns.failed(request, exc)
        return await self._ask(Asking(self._around, terms, request, command, persona, None))

    async def _chat(self, request: Request, command: Chat, terms: Terms) -> Turn:
        conversation = await self._awake(terms)
        try:
            persona = terms.personas.get(command.persona or _persona_name(conversation, terms))
        except UnknownPersona as exc:
            return turns.failed(request, exc)
        exchanges = tuple(conversation.exchanges)
        return await self._ask(Asking(self._around, terms, request, command, persona, exchanges))

    async def _ask(self, asking: Asking) -> Turn:
        self._asking = asking
        if self._stopped or self._voided:
            asking.cut()
        if self._span is not None:
            self._span.asks(*asking.asks_for)
        try:
            return await asking.run()
        finally:
            self._asking = None

    def _set_persona(self, request: Request, name: str, terms: Terms) -> Turn:
        try:
            name, _ = terms.personas.get(name)
        except UnknownPersona as exc:
            return turns.failed(request, exc)
        text = f"This channel's persona is now {name}."
        return turns.done(request, "persona", text, "persona", name)

    async def _awake(self, terms: Terms) -> Conversation:
        """The conversation, loaded from snapshot and history where it is not in memory.

        One that was kept for another window is read anew: a greater one shows more of history.
        """
        window = terms.service.max_context_messages
        if self._conversation is not None and self._conversation.window == window:
            return self._conversation
        while True:
            forgotten = self._forgotten
            conversation, snapshot_upto = await self._load(window)
            if forgotten == self._forgotten:
                break  # else it may hold what was erased in the meantime
        self._conversation, self._snapshot_upto = conversation, snapshot_upto
        return conversation

    async def _load(self, window: int) -> tuple[Conversation, int]:
        """The conversation as it stands on disk, and how far its snapshot reaches."""
        load = partial(snapshots.load, name=self.channel_id, max_messages=window)
        loaded = await self._around.database.write(load)
        conversation = Conversation(window)
        if loaded.body is not None:
            try:
                conversation = Conversation.decode(loaded.body, window)
            except ValueError as exc:
                wrong = not isinstance(exc, SmallerWindow)
                level = logging.WARNING if wrong else logging.DEBUG
                log.log(level, "Channel %.80r is read from its history: %s", self.channel_id, exc)
                loaded = await self._around.database.write(partial(load, trust_snapshot=False))
        conversation.replay((r.kind, r.username, r.content, r.persona) for r in loaded.rows)
        conversation.upto = loaded.upto
        return conversation, loaded.snapshot_upto

    async def _settle(self, row_id: int, request: Request, turn: Turn) -> Settled | None:
        """Commit the turn. An answer has cost time and money: it is kept until the disk takes it.

        Repeating a doubtful commit is safe, since it takes effect only while the row waits. One
        that has been erased by now is kept as that.
        """
        while True:
            if self._voided:
                turn = turns.erased(request)
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

    def _apply(self, rows: Iterable[Row], upto: int) -> None:
        """Take up what has been committed, just as a restart would read it."""
        if self._conversation is not None:
            self._conversation.replay((r.kind, r.username, r.content, r.persona) for r in rows)
            self._conversation.upto = upto


def _persona_name(conversation: Conversation, terms: Terms) -> str:
    """The channel's persona; the default where it never chose or its choice has gone."""
    chosen = conversation.persona
    return chosen if chosen and chosen in terms.personas else terms.personas.default
