"""The generation of one answer: builds the prompt, asks the providers, makes the turn's result."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial

from engine.answering import prompt, prompt_forms
from engine.answering.abandonable import AbandonableTask, DeadlineExceeded, WorkCancelled
from engine.answering.answer_text import AnswerText
from engine.answering.delta_buffer import DeltaBuffer
from engine.answering.judgement import Judgement
from engine.answering.prompt import BuiltPrompt
from engine.answering.prompt_forms import EncodedExchange, shown_name
from engine.answering.provenance import Provenance
from engine.answering.provider_failure import told
from engine.answering.sentences import in_parts
from engine.answering.shortened_windows import ShortenedWindows
from engine.answering.turn_account import ANSWER_RESERVE_TOKENS, TurnAccount
from engine.answering.turn_result import TurnResult, user_row
from engine.answering.turn_settings import TurnSettings
from engine.answering.window import Window
from engine.clock import shown_time
from engine.commands.observer import TurnObserver
from engine.commands.outcomes import Action, Answer, OutcomeSink
from engine.commands.records import Chat, Complete
from engine.commands.request import Request
from engine.config.personas import Persona
from engine.errors import Cancelled, TextRefused
from engine.texts import sentences
from engine.texts.sentence import Said
from engine.texts.texts import Texts
from providers.base import Completion, Message, Usage
from providers.chain.chain import Answered
from providers.chain.link import Ask
from providers.encoded_prompt import EncodedPrompt
from providers.errors import BadAnswer, OverBudget, ProviderError, ProviderTimeout
from providers.invisible import is_blank
from storage.history import Row
from storage.usage import Charge

NO_PERSONA = Persona(prompt="")


class Generation:
    """One request to the model, made once with `run`; `cut` ends it with the code `cancelled`.

    persona: (name, persona); None for no persona.
    exchanges: the window of the conversation; None for a raw completion, which takes only model,
        temperature and max_tokens from the persona.
    """

    def __init__(
        self,
        sink: OutcomeSink,
        observer: TurnObserver,
        texts: Texts,
        settings: TurnSettings,
        request: Request,
        command: Chat | Complete,
        persona: tuple[str, Persona] | None,
        exchanges: Sequence[EncodedExchange] | None,
        shortened_windows: ShortenedWindows,
        account: TurnAccount,
    ) -> None:
        self._observer = observer
        self._texts = texts
        self._settings = settings
        self._request = request
        self._command = command
        self._action: Action = "chat" if isinstance(command, Chat) else "complete"
        self._persona_name = persona[0] if persona else None
        self._persona = persona[1] if persona else NO_PERSONA
        self._rule = settings.rule
        self._options = settings.options(command, self._persona)
        # The prompt is made for the first provider.
        primary = settings.chain.primary
        self._primary, self._asked = primary.name, primary.settled(self._options)
        self._exchanges = exchanges
        self._shortened_windows = shortened_windows
        self._account = account
        self._provenance = (
            Provenance(None)
            if exchanges is None
            else Provenance(
                self._persona, self._rule.hint_version, is_chosen=settings.chosen is not None
            )
        )
        safety = settings.safety
        self._judgement = Judgement(safety, observer, self._provenance) if safety.checks else None
        conversation = settings.conversation
        interval_s = conversation.stream_interval_ms / 1000
        first_s = max(interval_s, conversation.first_delta_ms / 1000)
        self._deltas = (
            DeltaBuffer(sink, request, self._action, interval_s, first_s)
            if command.stream
            else None
        )
        # All that changes: the answer, its task, and whether it was cut before that.
        self._answer = self._answer_text("")
        self._task: AbandonableTask[Answered] | None = None
        self._cut = False

    def cut(self) -> bool:
        """End the generation; return False if it has ended already."""
        if self._task is not None:
            return self._task.cut()
        self._cut = True
        return True

    async def run(self) -> TurnResult:
        """Return the turn's result; a provider's failure or a cut is a result, not an exception."""
        started_s, limit_s = time.monotonic(), self._settings.conversation.turn_timeout_s
        if self._cut:
            return self._failed(self._stopped(), charges=self._account.of_lost())
        judgement = self._judgement
        work = self._judged(judgement, started_s) if judgement else self._generate(started_s)
        task = self._task = AbandonableTask(work, limit_s)
        try:
            answered = await task.result()
        except WorkCancelled:
            return self._failed(self._stopped(), charges=self._cost_of_cut())
        except DeadlineExceeded:
            said = sentences.TURN_TIMEOUT(seconds=limit_s)
            charges = self._cost_of_cut()
            return self._failed(ProviderTimeout(str(said)), said=said, charges=charges)
        except TextRefused as exc:
            return self._failed(exc, charges=self._cost_of_cut())
        except OverBudget as exc:
            return self._failed(exc, charges=self._account.of_lost())
        except ProviderError as exc:
            return self._failed(exc)
        finally:
            if self._deltas is not None:
                self._deltas.close()
        self._provenance.note_answer(answered)
        return self._answered(answered, round((time.monotonic() - started_s) * 1000))

    async def _judged(self, judgement: Judgement, started_s: float) -> Answered:
        """Do `_generate` if the message may be answered. Raises TextRefused."""
        await judgement.of_message(self._command.text)
        answered = await self._generate(started_s)
        if judgement.holds_answer and not is_blank(self._answer.content):
            await judgement.of_answer(answered, self._answer.content)
            self._add(self._answer.content)
            self._end_deltas()
        return answered

    async def _generate(self, started_s: float) -> Answered:
        """Gather the answer, in pieces if it is streamed."""
        self._observer.model_asked(self._request, self._primary, *self._asked)
        chain, channel_id = self._settings.chain, self._request.channel_id
        began = partial(self._note_writer, started_s)
        window = self._window()
        while True:
            built = self._prompt(window.exchanges)
            if window.due:
                window.halve(built.exchanges)
                continue
            can_shorten = window.can_shorten(built.messages, built.exchanges)
            self._account.expect(built.messages, self._primary, self._asked)
            try:
                if not self._command.stream:
                    # Two async generators less: they cost 10 us a turn (bench: throughput).
                    ask = self._whole(built.messages)
                    answered = await chain.answer(
                        ask,
                        self._options,
                        channel=channel_id,
                        said=self._command.text,
                        can_shorten=can_shorten,
                        asked=self._note_asked,
                        admit=self._account.admit,
                        lost=self._account.note_lost,
                    )
                    window.note_answered()
                    self._answer.feed(answered.completion.content)
                    return self._finish(answered, built.messages)
                stream = chain.stream(
                    built.messages,
                    self._options,
                    channel=channel_id,
                    said=self._command.text,
                    began=began,
                    can_shorten=can_shorten,
                    asked=self._note_asked,
                    admit=self._account.admit,
                    lost=self._account.note_lost,
                )
                async with aclosing(stream) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Answered):
                            window.note_answered()
                            return self._finish(piece, built.messages)
                        self._add(self._answer.feed(piece))
                        if self._answer.finish_reason:
                            break
            except ProviderError as exc:
                if self._answer.content:
                    raise
                window.shorten(exc, built.messages, built.exchanges)
            else:
                # The provider reports no token counts for an answer that we cut off.
                provider, model = self._answer.writer
                cut = Answered(Completion(self._answer.content, model), provider, 1, 0.0)
                return self._finish(cut, built.messages)

    def _window(self) -> Window:
        key = (self._request.channel_id, self._primary, self._options.model or "")
        return Window(self._exchanges or (), self._shortened_windows, key)

    def _whole(self, messages: EncodedPrompt) -> Ask:
        if self._exchanges is None:
            return lambda provider, options: provider.complete(self._command.text, options)
        return lambda provider, options: provider.chat(messages, options)

    def _add(self, text: str) -> None:
        if self._deltas is not None and not self._is_held:
            self._deltas.add(text)

    def _end_deltas(self) -> None:
        if self._deltas is not None and not self._is_held:
            self._deltas.finish()

    def _finish(self, answered: Answered, messages: EncodedPrompt) -> Answered:
        usage = answered.completion.usage
        if usage and answered.provider == self._primary:
            # Of a prompt that was cut, only the part that was left is counted.
            at_least = answered.completion.prompt_cut
            tokens = usage.prompt_tokens
            self._settings.rates.learn(
                self._primary, self._asked.model, messages, tokens, at_least=at_least
            )
        self._add(self._answer.finish())
        self._end_deltas()
        return answered

    def _note_asked(self, provider: str) -> None:
        self._provenance.note_asked(provider)
        self._account.note_asked()

    def _note_writer(self, started_s: float, provider: str, model: str) -> None:
        self._answer.writer = (provider, model)
        self._observer.first_token(provider, time.monotonic() - started_s)

    def _prompt(self, exchanges: Sequence[EncodedExchange]) -> BuiltPrompt:
        if self._exchanges is None:
            messages = EncodedPrompt.of([Message("user", self._command.text)])
            self._provenance.note_prompt(messages, exchanges=0)
            return BuiltPrompt(messages, 0, ())
        options = self._options
        context_tokens = self._settings.chain.context_tokens(options.model)
        reserve = min(options.max_tokens or ANSWER_RESERVE_TOKENS, context_tokens // 2)
        hint, channel_id = self._rule.hint or "", self._request.channel_id
        built = prompt.build(
            prompt_forms.system_text(self._persona.prompt, hint, channel_id),
            exchanges,
            self._request.username,
            self._command.text,
            max_messages=self._settings.service.max_context_messages,
            budget_tokens=context_tokens - reserve,
            rates=self._settings.rates.of(self._primary, self._asked.model),
        )
        self._provenance.note_prompt(built.messages, exchanges=built.exchanges)
        bot_name = self._settings.service.bot_name if built.speakers else ""
        max_chars = None if self._rule.parts else self._rule.max_reply_chars
        self._answer = self._answer_text(bot_name, built.speakers, max_chars)
        return built

    def _answer_text(
        self, bot_name: str, speakers: Sequence[str] = (), max_chars: int | None = None
    ) -> AnswerText:
        settings = self._settings
        max_bytes = settings.conversation.max_reply_bytes
        return AnswerText(bot_name, max_bytes, speakers, max_chars, settings.safety.mentions)

    def _answered(self, answered: Answered, latency_ms: int) -> TurnResult:
        completion, content = answered.completion, self._answer.content
        charges = self._account.charges(
            answered.provider, completion.model, completion.usage, content
        )
        if is_blank(content):
            said = sentences.BLANK_ANSWER(provider=answered.provider)
            return self._failed(BadAnswer(str(said)), answered.provider, said, charges)
        usage = completion.usage or Usage(0, 0)
        finish_reason = self._answer.finish_reason or completion.finish_reason
        outcome = Answer(
            channel_id=self._request.channel_id,
            request_id=self._request.request_id,
            action=self._action,
            content=content,
            username=self._request.username,
            persona=self._persona_name,
            provider=answered.provider,
            model=completion.model,
            finish_reason=finish_reason,
            usage=completion.usage,
            latency_ms=latency_ms,
            parts=self._parts(content),
        )
        row = Row(
            "answer" if isinstance(self._command, Chat) else "completion",
            self._request.request_id,
            self._request.username,
            content,
            self._persona_name,
            answered.provider,
            completion.model,
            finish_reason,
            usage.prompt_tokens if completion.usage else None,
            usage.completion_tokens if completion.usage else None,
            latency_ms,
            details=self._provenance.details(answered.provider),
            personal=self._request.personal_with(self._provenance.prompt_salt),
        )
        rows = (user_row(self._request, self._command, self._persona_name), row)
        return TurnResult(outcome, rows, charges)

    def _parts(self, content: str) -> tuple[str, ...] | None:
        length = self._rule.max_reply_chars
        if length is None or not self._rule.parts or self._exchanges is None:
            return None
        return in_parts(content, length)

    def _stopped(self) -> Cancelled:
        name = shown_name(self._request.username)
        return Cancelled(sentences.ANSWER_STOPPED(name=name))

    def _failed(
        self,
        exc: ProviderError | Cancelled | TextRefused,
        provider: str = "",
        said: Said | None = None,
        charges: tuple[Charge, ...] | None = None,
    ) -> TurnResult:
        """Return the result of a turn without an answer; its row has the error in English.

        said: what the room is told, if it is not that of the error's class.
        charges: what the turn cost, if it is not what was written and what calls were lost.
        """
        request, is_cancelled = self._request, isinstance(exc, Cancelled)
        if self._deltas is not None:
            self._deltas.end()
        partial = None
        if is_cancelled:
            partial = "" if self._is_held else self._answer.content
        provider = provider or self._writer[0]
        if not provider and isinstance(exc, ProviderError) and not isinstance(exc, OverBudget):
            provider = self._primary
        if said is None:
            said = told(exc, provider) if isinstance(exc, ProviderError) else exc.said
        error = self._texts.say(request.channel_id, said)
        outcome = request.failure(exc.code, error, exc.retry_after_s, partial=partial)
        if isinstance(exc, OverBudget):
            self._observer.limited(exc.budget, exc.scope)
            resets_at = shown_time(exc.resets_ms) if exc.resets_ms is not None else None
            outcome = outcome._replace(limit=exc.budget, scope=exc.scope, resets_at=resets_at)
        row = Row(
            "cancelled" if is_cancelled else "error",
            request.request_id,
            request.username,
            str(exc) if partial is None else partial,
            self._persona_name,
            provider or None,
            code=exc.code,
            details=self._provenance.details(provider or None),
            personal=self._request.personal_with(self._provenance.prompt_salt),
        )
        rows = (user_row(self._request, self._command, self._persona_name), row)
        if charges is None:
            # What was written is paid for, also if it then broke off.
            content = self._answer.content
            writer = self._answer.writer if content else ("", "")
            charges = self._account.charges(*writer, None, content)
        return TurnResult(outcome, rows, charges)

    def _cost_of_cut(self) -> tuple[Charge, ...]:
        """Return what a call cost that we cut off; of a whole answer, nobody knows its length."""
        content = self._answer.content
        if judged := self._judged_answer:
            usage = judged.completion.usage
            return self._account.charges(*self._writer, usage, content)
        writer = self._answer.writer if content else self._account.asked
        if writer is None:
            return self._account.of_lost()
        text = content if content or self._command.stream else None
        return self._account.charges(*writer, None, text)

    @property
    def _is_held(self) -> bool:
        """Whether the answer may not be shown yet."""
        return self._judgement is not None and self._judgement.holds_answer

    @property
    def _judged_answer(self) -> Answered | None:
        """The answer that is judged, or was; None before that."""
        return self._judgement.answered if self._judgement is not None else None

    @property
    def _writer(self) -> tuple[str, str]:
        """The provider and the model that wrote the answer; "" as long as that is not known."""
        if judged := self._judged_answer:
            return judged.provider, judged.completion.model
        return self._answer.writer
