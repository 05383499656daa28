"""The command that an actor works on: carried out as a turn, stopped or erased meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.actors.context import ActorContext
from engine.actors.conversation import Conversation
from engine.actors.conversation_cache import ConversationCache
from engine.actors.mailbox import Envelope
from engine.answering import turn_result as turn_result
from engine.answering.generation import Generation
from engine.answering.turn_result import TurnResult
from engine.answering.turn_settings import TurnSettings
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
from providers import trace

if TYPE_CHECKING:
    from engine.telemetry.spans import TurnSpan


class RunningTurn:
    """`begin`, then `turn`; after a crash of the actor both once more.

    `attempted`: the attempt that is made now was counted already. `voided`: it was erased, and
    comes to that whatever the turn comes to. `settling`: its outcome is being committed, and
    nothing can stop it any more.
    """

    def __init__(self, envelope: Envelope, context: ActorContext, cache: ConversationCache) -> None:
        self.envelope = envelope
        self.attempted = envelope.attempted
        self.started_ms: int | None = None
        self.erased = False
        self.settling = False
        self.span: TurnSpan | None = None
        self._context = context
        self._cache = cache
        self._generation: Generation | None = None
        self._stopped = False

    def begin(self) -> None:
        """Its attempt is counted. The provider is told of our span, or else of the sender's."""
        self.started_ms = now_ms()
        if self._context.spans is not None and self.span is None:
            provider = self._context.turn_settings.chain.primary.name
            self.span = self._context.spans.begin(self.envelope, provider)
        trace.current.set(self.span.context if self.span else self.envelope.request.trace)

    def stop(self) -> bool:
        """Cut off the answer being written; False where there is none."""
        if self.settling or not isinstance(self.envelope.request.command, Chat):
            return False
        if self._generation is not None:
            return self._generation.cut()
        self._stopped = True
        return True

    def erase(self) -> None:
        """It was erased: it comes to `cancelled`, and nothing more of it is kept."""
        self.erased = True
        if self._generation is not None:
            self._generation.cut()

    async def run(self) -> TurnResult:
        """Carry it out. Providers' failures and a stop are outcomes; nothing else is caught."""
        request, turn_settings = self.envelope.request, self._context.turn_settings
        turn_settings.chain.hold()
        try:
            match request.command:
                case Chat() as command:
                    return await self._chat(request, command, turn_settings)
                case Complete() as command:
                    return await self._complete(request, command, turn_settings)
                case Reset():
                    messages = (await self._conversation(turn_settings)).messages
                    text = f"The conversation starts afresh: {messages} messages cleared."
                    return turn_result.done(request, "reset", text, "reset")
                case SetPersona(name):
                    return self._set_persona(request, name, turn_settings)
                case ShowPersonas():
                    current = _persona_name(await self._conversation(turn_settings), turn_settings)
                    text = turn_settings.personas.listing(current)
                    return turn_result.done(request, "persona", text, "personas")
                case Help():
                    return turn_result.done(request, "help", HELP, "help")
                case Erased():
                    return turn_result.erased(request)
                case Stop():
                    raise AssertionError("a stop never waits in a mailbox")
        finally:
            turn_settings.chain.release()

    async def _complete(
        self, request: Request, command: Complete, turn_settings: TurnSettings
    ) -> TurnResult:
        try:
            persona = turn_settings.personas.get(command.persona) if command.persona else None
        except UnknownPersona as exc:
            return turn_result.failed(request, exc)
        return await self._ask(
            Generation(self._context, turn_settings, request, command, persona, None)
        )

    async def _chat(
        self, request: Request, command: Chat, turn_settings: TurnSettings
    ) -> TurnResult:
        conversation = await self._conversation(turn_settings)
        try:
            persona = turn_settings.personas.get(
                command.persona or _persona_name(conversation, turn_settings)
            )
        except UnknownPersona as exc:
            return turn_result.failed(request, exc)
        exchanges = conversation.encoded
        return await self._ask(
            Generation(self._context, turn_settings, request, command, persona, exchanges)
        )

    async def _ask(self, generation: Generation) -> TurnResult:
        self._generation = generation
        if self._stopped or self.erased:
            generation.cut()
        if self.span is not None:
            self.span.asks(*generation.asks_for)
        try:
            return await generation.run()
        finally:
            self._generation = None

    def _set_persona(self, request: Request, name: str, turn_settings: TurnSettings) -> TurnResult:
        try:
            name, _ = turn_settings.personas.get(name)
        except UnknownPersona as exc:
            return turn_result.failed(request, exc)
        text = f"This channel's persona is now {name}."
        return turn_result.done(request, "persona", text, "persona", name)

    async def _conversation(self, turn_settings: TurnSettings) -> Conversation:
        return await self._cache.conversation(turn_settings.service.max_context_messages)


def _persona_name(conversation: Conversation, turn_settings: TurnSettings) -> str:
    """The channel's persona; the default where it never chose or its choice has gone."""
    chosen = conversation.persona
    return chosen if chosen and chosen in turn_settings.personas else turn_settings.personas.default
