"""A channel's actor: its mailbox, its conversation, and one turn at a time.

Its task lives only while there is work. A turn goes through phases, each durable before the next:
accepted, attempted, settled, published (`storage/mailboxes.py` says what a crash leaves of each).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from functools import partial

from engine.actors import turn as turns
from engine.actors.asking import Asking
from engine.actors.conversation import Conversation
from engine.actors.crashes import Crashes
from engine.actors.surroundings import Surroundings, now_ms
from engine.actors.turn import Turn
from engine.commands.help import HELP
from engine.commands.kinds import Chat, Complete, Help, Reset, SetPersona, ShowPersonas, Stop
from engine.errors import Internal, Suspended, UnknownPersona
from engine.mailbox import Envelope, Mailbox, Request
from engine.outcomes import Failure
from storage import mailboxes, snapshots, suspensions
from storage.database import Write
from storage.errors import StorageUnavailable
from storage.history import Row
from storage.mailboxes import Accepted, Settled

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
        self._current: Envelope | None = None
        self._asking: Asking | None = None
        self._stopped = False
        self._settling = False
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

    async def snapshot(self) -> None:
        """Store the conversation; on return it is committed up to where it stood at the call."""
        conversation = self._conversation
        if conversation is None or not self.changed:
            return
        upto = conversation.upto
        save = partial(
            snapshots.save,
            name=self.channel_id,
            upto=upto,
            ts_ms=now_ms(),
            body=conversation.encode(),
        )
        await self._around.database.write(save)
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
            await self._carry_through(self._current)
            self._on_done(self, self._current)
            more = len(self._mailbox) and not self._draining
            self._current = self._mailbox.take() if more else None
            self._stopped = False
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
            await self._publish_again(request)
            return
        if attempts > MAX_ATTEMPTS:
            turn = turns.failed(request, Internal("This message could not be handled."))
        else:
            turn = await self._turn(request)
        self._settling = True
        try:
            settled = await self._settle(row_id, request, turn)
        finally:
            self._settling = False
        if settled is not None:
            self._apply(turn.rows, settled.upto)
            self._around.outlet.publish(settled)

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

    async def _publish_again(self, request: Request) -> None:
        """The command was settled, but we crashed before its outcome was published."""
        find = partial(
            mailboxes.find_settled,
            channel=request.channel_id,
            request_id=request.request_id,
            replies=request.replies,
        )
        if settled := await self._around.database.write(find):
            self._around.outlet.publish(settled)

    async def _turn(self, request: Request) -> Turn:
        match request.command:
            case Chat() as command:
                return await self._chat(request, command)
            case Complete() as command:
                return await self._complete(request, command)
            case Reset():
                conversation = await self._awake()
                text = f"The conversation starts afresh: {conversation.messages} messages cleared."
                return turns.done(request, "reset", text, "reset")
            case SetPersona(name):
                return self._set_persona(request, name)
            case ShowPersonas():
                text = self._around.personas.listing(await self._persona_name())
                return turns.done(request, "persona", text, "personas")
            case Help():
                return turns.done(request, "help", HELP, "help")
            case Stop():
                raise AssertionError("a stop never waits in a mailbox")

    async def _complete(self, request: Request, command: Complete) -> Turn:
        try:
            persona = self._around.personas.get(command.persona) if command.persona else None
        except UnknownPersona as exc:
            return turns.failed(request, exc)
        return await self._ask(Asking(self._around, request, command, persona, None))

    async def _chat(self, request: Request, command: Chat) -> Turn:
        conversation = await self._awake()
        try:
            persona = self._around.personas.get(command.persona or await self._persona_name())
        except UnknownPersona as exc:
            return turns.failed(request, exc)
        exchanges = tuple(conversation.exchanges)
        return await self._ask(Asking(self._around, request, command, persona, exchanges))

    async def _ask(self, asking: Asking) -> Turn:
        self._asking = asking
        if self._stopped:
            asking.cut()
        try:
            return await asking.run()
        finally:
            self._asking = None

    def _set_persona(self, request: Request, name: str) -> Turn:
        try:
            name, _ = self._around.personas.get(name)
        except UnknownPersona as exc:
            return turns.failed(request, exc)
        text = f"This channel's persona is now {name}."
        return turns.done(request, "persona", text, "persona", name)

    async def _persona_name(self) -> str:
        """The channel's persona; the default where it never chose or its choice has gone."""
        chosen = (await self._awake()).persona
        return (
            chosen if chosen and chosen in self._around.personas else self._around.personas.default
        )

    async def _awake(self) -> Conversation:
        """The conversation, loaded from snapshot and history where it is not in memory."""
        if self._conversation is not None:
            return self._conversation
        window = self._around.service.max_context_messages
        load = partial(snapshots.load, name=self.channel_id, max_messages=window)
        loaded = await self._around.database.write(load)
        conversation = Conversation(window)
        if loaded.body is not None:
            try:
                conversation = Conversation.decode(loaded.body, window)
            except ValueError as exc:
                log.warning("Channel %.80r is read from its history: %s", self.channel_id, exc)
                loaded = await self._around.database.write(partial(load, trust_snapshot=False))
        self._snapshot_upto = loaded.snapshot_upto
        conversation.replay((r.kind, r.username, r.content, r.persona) for r in loaded.rows)
        conversation.upto = loaded.upto
        self._conversation = conversation
        return conversation

    async def _settle(self, row_id: int, request: Request, turn: Turn) -> Settled | None:
        """Commit the turn. An answer has cost time and money: it is kept until the disk takes it.

        Repeating a doubtful commit is safe, since it takes effect only while the row waits.
        """
        settle = partial(
            mailboxes.settle,
            row_id=row_id,
            channel=request.channel_id,
            request_id=request.request_id,
            rows=turn.rows,
            kind=turn.outcome.kind,
            body=turn.outcome.encode(),
        )
        while True:
            try:
                return await self._around.database.write(partial(settle, now_ms=now_ms()))
            except StorageUnavailable:
                await asyncio.sleep(STORAGE_PAUSE_S)

    def _apply(self, rows: Iterable[Row], upto: int) -> None:
        """Take up what has been committed, just as a restart would read it."""
        if self._conversation is not None:
            self._conversation.replay((r.kind, r.username, r.content, r.persona) for r in rows)
            self._conversation.upto = upto
