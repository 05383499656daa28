"""The command that an actor works on: carried out as a turn, stopped or erased meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.actors import turn as turns
from engine.actors.asking import Asking
from engine.actors.conversation import Conversation
from engine.actors.memory import Memory
from engine.actors.surroundings import Surroundings, Terms
from engine.actors.turn import Turn
from engine.clock import now_ms
from engine.commands.help import HELP
from engine.commands.records import (
    Chat,
    Complete,
    Erased,
    Help,
    Reset,
    SetPersona,
    ShowPersonas,
    Stop,
)
from engine.commands.request import Request
from engine.errors import UnknownPersona
from engine.mailbox import Envelope
from providers import trace

if TYPE_CHECKING:
    from engine.telemetry.spans import TurnSpan


class Work:
    """`begin`, then `turn`; after a crash of the actor both once more.

    `attempted`: the attempt that is made now was counted already. `voided`: it was erased, and
    comes to that whatever the turn comes to. `settling`: its outcome is being committed, and
    nothing can stop it any more.
    """

    def __init__(self, envelope: Envelope, around: Surroundings, memory: Memory) -> None:
        self.envelope = envelope
        self.attempted = envelope.attempted
        self.started_ms: int | None = None
        self.voided = False
        self.settling = False
        self.span: TurnSpan | None = None
        self._around = around
        self._memory = memory
        self._asking: Asking | None = None
        self._stopped = False

    def begin(self) -> None:
        """Its attempt is counted. The provider is told of our span, or else of the sender's."""
        self.started_ms = now_ms()
        if self._around.spans is not None and self.span is None:
            provider = self._around.terms.chain.primary.name
            self.span = self._around.spans.begin(self.envelope, provider)
        trace.current.set(self.span.context if self.span else self.envelope.request.trace)

    def stop(self) -> bool:
        """Cut off the answer being written; False where there is none."""
        if self.settling or not isinstance(self.envelope.request.command, Chat):
            return False
        if self._asking is not None:
            return self._asking.cut()
        self._stopped = True
        return True

    def void(self) -> None:
        """It was erased: it comes to `cancelled`, and nothing more of it is kept."""
        self.voided = True
        if self._asking is not None:
            self._asking.cut()

    async def turn(self) -> Turn:
        """Carry it out. Providers' failures and a stop are outcomes; nothing else is caught."""
        request, terms = self.envelope.request, self._around.terms
        terms.chain.hold()
        try:
            match request.command:
                case Chat() as command:
                    return await self._chat(request, command, terms)
                case Complete() as command:
                    return await self._complete(request, command, terms)
                case Reset():
                    messages = (await self._conversation(terms)).messages
                    text = f"The conversation starts afresh: {messages} messages cleared."
                    return turns.done(request, "reset", text, "reset")
                case SetPersona(name):
                    return self._set_persona(request, name, terms)
                case ShowPersonas():
                    current = _persona_name(await self._conversation(terms), terms)
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
        conversation = await self._conversation(terms)
        try:
            persona = terms.personas.get(command.persona or _persona_name(conversation, terms))
        except UnknownPersona as exc:
            return turns.failed(request, exc)
        exchanges = conversation.encoded
        return await self._ask(Asking(self._around, terms, request, command, persona, exchanges))

    async def _ask(self, asking: Asking) -> Turn:
        self._asking = asking
        if self._stopped or self.voided:
            asking.cut()
        if self.span is not None:
            self.span.asks(*asking.asks_for)
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

    async def _conversation(self, terms: Terms) -> Conversation:
        return await self._memory.conversation(terms.service.max_context_messages)


def _persona_name(conversation: Conversation, terms: Terms) -> str:
    """The channel's persona; the default where it never chose or its choice has gone."""
    chosen = conversation.persona
    return chosen if chosen and chosen in terms.personas else terms.personas.default
