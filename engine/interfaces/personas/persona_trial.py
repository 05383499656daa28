"""`rosey-llm persona try`: asks a persona one question, without a conversation and without NATS."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

from engine.answering import prompt, prompt_forms
from engine.answering.turn_account import ANSWER_RESERVE_TOKENS
from engine.commands.validation import Choices, check_choices, check_text
from engine.config.personas import Persona
from engine.config.settings import Settings
from engine.errors import LLMError
from providers.base import Options
from providers.chain.chain import Answered, ProviderChain
from providers.errors import ProviderError
from providers.invisible import is_blank

CHANNEL = "trial"


async def ask(
    settings: Settings, persona: Persona, text: str, choices: Choices, show: Callable[[str], None]
) -> Answered:
    """Ask one question and return the answer. Providers are tried in order, as in a channel.

    - `choices`: override the persona's own model and temperature
    - `show`: called with each piece of the answer

    Raises InvalidRequest if the text or the choices are not allowed, LLMError if no answer comes.
    """
    check_text(text, settings.conversation.max_message_bytes)
    check_choices(choices, settings.conversation.max_message_bytes)
    chain = ProviderChain(settings.new_providers(), fallback_on=settings.fallback_on)
    try:
        return await _ask(chain, settings, persona, text, choices, show)
    except ProviderError as exc:
        raise LLMError(exc.code, str(exc)) from exc
    finally:
        await chain.aclose()


async def _ask(
    chain: ProviderChain,
    settings: Settings,
    persona: Persona,
    text: str,
    choices: Choices,
    show: Callable[[str], None],
) -> Answered:
    options = _options(persona, choices)
    context_tokens = chain.context_tokens(options.model)
    reserve = min(options.max_tokens or ANSWER_RESERVE_TOKENS, context_tokens // 2)
    built = prompt.build(
        prompt_forms.system_text(persona.prompt, "", CHANNEL),
        (),
        "User",
        text,
        max_messages=settings.service.max_context_messages,
        budget_tokens=context_tokens - reserve,
    )
    async with aclosing(chain.stream(built.messages, options, channel=CHANNEL)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Answered):
                answered = piece
            else:
                show(piece)
    if is_blank(answered.completion.content):
        raise LLMError("provider_error", f"{answered.provider} gave an empty answer.")
    return answered


def _options(persona: Persona, choices: Choices) -> Options:
    temperature = choices.temperature
    return Options(
        model=choices.model or persona.model,
        temperature=persona.temperature if temperature is None else temperature,
        max_tokens=choices.max_tokens or persona.max_tokens,
    )
