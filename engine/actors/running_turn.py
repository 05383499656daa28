"""The turn that an actor carries out now; it may be stopped or erased while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil

from engine.accounting import scopes
from engine.actors import model_commands
from engine.actors.context import ActorContext
from engine.actors.conversation import Conversation
from engine.actors.conversation_cache import ConversationCache
from engine.actors.mailbox import Envelope
from engine.actors.stop_order import StopOrder
from engine.answering import turn_result as turn_result
from engine.answering.generation import Generation
from engine.answering.turn_account import TurnAccount
from engine.answering.turn_result import TurnResult
from engine.answering.turn_settings import TurnSettings
from engine.clock import now_ms
from engine.commands.records import (
    Chat,
    Complete,
    Erased,
    Help,
    Reset,
    SetModel,
    SetPersona,
    ShowModel,
    ShowPersonas,
    ShowUsage,
    Stop,
)
from engine.config.allowed_models import ChosenModel
from engine.errors import Busy, RoomError, UnknownPersona
from engine.texts import sentences
from engine.texts.sentence import Said
from providers import origin, trace
from providers.origin import Origin
from storage import usage
from storage.row_kinds import Kind
from storage.usage import Charge, Sums

STOPS_LIMIT = 8
STOPPED_WITHIN_S = 1.0


class RunningTurn:
    """A command that is carried out: `begin`, then `run`; after a crash, both again.

    attempted: whether the next attempt is counted on disk already.
    started_ms: when the latest attempt began, in wall-clock milliseconds.
    stops: the stops that ended the answer; their outcomes are committed with the turn's.
    erased: whether the message was erased; its outcome is `cancelled` whatever the model answers.
    cancelled: whether the sender wants no answer any more.
    settling: whether its outcome is being committed; it cannot be stopped any more.
    """

    def __init__(self, envelope: Envelope, context: ActorContext, cache: ConversationCache) -> None:
        self.envelope = envelope
        self.attempted = envelope.attempted
        self.started_ms: int | None = None
        self.erased = False
        self.cancelled = envelope.cancelled
        self.settling = False
        self._context = context
        self._settings = context.turn_settings.usual  # until an attempt begins
        self._cache = cache
        self.stops: list[StopOrder] = []
        self._generation: Generation | None = None
        self._account: TurnAccount | None = None
        self._lost = 0

    def begin(self, attempts: int) -> None:
        """Start an attempt that is counted on disk: note the time and tell the observer.

        attempts: how many were counted, with this one.
        """
        if self.started_ms is None:
            self._lost = attempts - 1
        elif self._account is not None and self._account.asked is not None:
            self._lost += 1
        self.started_ms = now_ms()
        request, context = self.envelope.request, self._context
        # The provider gets the sender's trace, unless an observer replaces it by its own span.
        trace.current.set(request.trace)
        origin.current.set(Origin(request.channel_id, request.request_id))
        settings = self._settings = context.turn_settings.of(request.channel_id)
        provider = settings.chain.primary.name
        context.observer.turn_started(request, self.envelope.accepted_ms, provider)

    def stop(self, new_order: Callable[[], StopOrder]) -> bool:
        """Stop the answer that is being written; return False if there is none. Raises Busy."""
        if self.settling or not isinstance(self.envelope.request.command, Chat):
            return False
        if self._generation is not None and not self._generation.cut():
            return False
        if len(self.stops) >= STOPS_LIMIT:
            wait_s = self._context.waits.told(STOPPED_WITHIN_S)
            said = sentences.STOPPING_ALREADY(seconds=ceil(wait_s))
            raise Busy(said, retry_after_s=wait_s)
        self.stops.append(new_order())
        return True

    def refuse_stops(self, said: Said) -> None:
        """Tell the senders of the stops that their outcome cannot be stored."""
        for stop in self.stops:
            stop.refuse(self._context, said)
        self.stops.clear()

    def cancel(self) -> None:
        """Stop the answer for its sender; without effect once its outcome is being committed."""
        self.cancelled = True
        if self._generation is not None:
            self._generation.cut()

    def erase(self) -> None:
        """Make `cancelled` the outcome, and keep nothing of the command's content."""
        self.erased = True
        if self._generation is not None:
            self._generation.cut()

    def unless_erased(self, result: TurnResult) -> TurnResult:
        """Return the result, or `cancelled` if the command was erased.

        A command may be erased before its turn, while the model answers, and while its outcome
        waits for the disk. So this is called before each commit, and once more after it.
        """
        return self._erased(result.charges) if self.erased else result

    def failed(self, exc: RoomError) -> TurnResult:
        """Return the result of a command that is not carried out."""
        if self.erased:
            return self._erased(self._cost_of_lost())
        charges = self._cost_of_lost()
        request = self.envelope.request
        return turn_result.failed(request, exc, self._context.texts, charges=charges)

    def close_account(self, committed: tuple[Charge, ...] | None = None) -> None:
        """Give back what is reserved, after these charges were committed; safe to call again.

        committed: None if that is not known.
        """
        if self._account is None:
            self._context.budgets.note(committed or (), {})
        elif committed is None:
            self._account.leave_open()
        else:
            self._account.settle(committed)

    async def run(self) -> TurnResult:
        """Carry out the command; a provider's failure and a stop are results, not exceptions."""
        request, settings = self.envelope.request, self._settings
        settings.hold()
        try:
            match request.command:
                case Chat() | Complete() as command:
                    try:
                        generation = self._generation = await self._prepare(command, settings)
                    except UnknownPersona as exc:
                        return self.failed(exc)
                    return await generation.run()
                case Reset():
                    messages = (await self._conversation(settings)).messages
                    return self._done("reset", sentences.CONVERSATION_RESET(number=messages))
                case SetPersona(name):
                    return self._set_persona(name, settings)
                case ShowPersonas():
                    current = settings.persona_name((await self._conversation(settings)).persona)
                    others = [name for name in settings.personas.names if name != current]
                    said = sentences.PERSONAS_LISTED(name=current, others=", ".join(others))
                    return self._done("personas", said)
                case SetModel() as command:
                    conversation = await self._conversation(settings)
                    return model_commands.switch(
                        request, command, conversation, settings, self._context.texts
                    )
                case ShowModel():
                    conversation = await self._conversation(settings)
                    return model_commands.show(request, conversation, settings, self._context.texts)
                case ShowUsage():
                    return self._done("usage", await self._usage(settings))
                case Help():
                    return self._done("help", sentences.HELP())
                case Erased():
                    return self._erased(self._cost_of_lost())
                case Stop():
                    raise AssertionError("a stop never waits in a mailbox")
        finally:
            self._generation = None
            settings.release()

    async def _prepare(self, command: Chat | Complete, settings: TurnSettings) -> Generation:
        """Return the generation that answers the command. Raises UnknownPersona."""
        exchanges, name = None, command.persona
        if isinstance(command, Chat):
            conversation = await self._conversation(settings)
            name = name or settings.persona_name(conversation.persona)
            if command.model is None:
                settings = self._with_model(conversation.model, settings)
            exchanges = conversation.encoded
        persona = settings.personas.get(name) if name else None
        account = self._account = await self._open_account(persona and persona[0], settings)
        generation = Generation(
            self._context.sink,
            self._context.observer,
            self._context.texts,
            settings,
            self.envelope.request,
            command,
            persona,
            exchanges,
            self._context.shortened_windows,
            account,
        )
        if self.stops or self.erased or self.cancelled:
            generation.cut()
        return generation

    def _with_model(self, chosen: ChosenModel | None, settings: TurnSettings) -> TurnSettings:
        """Return the settings with the model that the channel has chosen, if it still may."""
        if chosen is not None and chosen not in settings.models.allowed:
            settings.models.note_not_used(self.envelope.request.channel_id, chosen)
        return settings.with_model(chosen)

    async def _open_account(self, persona: str | None, settings: TurnSettings) -> TurnAccount:
        """Return the account of this attempt; it holds what has a budget."""
        request, budgets = self.envelope.request, self._context.budgets
        concerned = budgets.concerning(request, persona, settings.chain.names)
        held = await budgets.hold(concerned) if concerned else None
        return self._context.account(request, settings, persona, self._lost, held)

    def _cost_of_lost(self) -> tuple[Charge, ...]:
        if not self._lost:
            return ()
        return self._context.account(self.envelope.request, lost=self._lost).of_lost()

    def _set_persona(self, name: str, settings: TurnSettings) -> TurnResult:
        request = self.envelope.request
        try:
            name, _ = settings.personas.get(name)
        except UnknownPersona as exc:
            return turn_result.failed(request, exc, self._context.texts)
        return self._done("persona", sentences.PERSONA_SWITCHED(name=name), name)

    def _done(self, kind: Kind, said: Said, persona: str | None = None) -> TurnResult:
        request = self.envelope.request
        return turn_result.done(request, kind, said, self._context.texts, persona)

    async def _usage(self, settings: TurnSettings) -> Said:
        """Say what the sender and the channel used today."""
        request, today = self.envelope.request, settings.accounts.days.of(now_ms())
        mine, channels = await self._context.database.write(
            lambda connection: [
                usage.total(connection, scope, today, today)
                for scope in (scopes.of_user(request), scopes.of_channel(request))
            ]
        )
        channel = _used(channels, "channel_questions", "channel_tokens")
        if scopes.of_user(request) == scopes.NOBODY:
            said = sentences.USAGE_OF_CHANNEL(**channel)
        else:
            said = sentences.USAGE(**_used(mine, "questions", "tokens"), **channel)
        return await self._with_budgets(said)

    async def _with_budgets(self, said: Said) -> Said:
        """Say as well how much of the sender's and of the channel's budget is used."""
        request, budgets = self.envelope.request, self._context.budgets
        sentence_of = {
            scopes.of_user(request): sentences.YOUR_BUDGET_USED,
            scopes.of_channel(request): sentences.CHANNEL_BUDGET_USED,
        }
        held = await budgets.hold([scope for scope in sentence_of if budgets.of(scope)])
        budgets.let_go(held.values())
        for scope, account in held.items():
            percent = round(100 * budgets.ratio(account))
            said = sentence_of[scope](usage=said, percent=percent)
        return said

    def _erased(self, charges: Iterable[Charge] = ()) -> TurnResult:
        return turn_result.erased(self.envelope.request, self._context.texts, charges)

    async def _conversation(self, settings: TurnSettings) -> Conversation:
        return await self._cache.conversation(settings.service.max_context_messages)


def _used(sums: Sums, questions: str, tokens: str) -> dict[str, Said]:
    """Return the phrases with what was used, by the names of their placeholders."""
    number = sums.prompt_tokens + sums.completion_tokens
    return {
        questions: sentences.QUESTIONS(number=sums.requests),
        tokens: sentences.TOKENS(number=number),
    }
