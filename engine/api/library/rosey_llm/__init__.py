"""The names of rosey-llm for other programs: a client, the engine in process, its providers.

>>> from rosey_llm import Client, LLMService, OllamaProvider

Names are loaded when they are first used: to import this package loads neither an HTTP client nor
SQLite. It also works in a project that has packages `engine`, `providers` or `storage` of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.api.answer_stream import AnswerStream
    from engine.api.service import LLMService
    from engine.client.address import CannotConnect
    from engine.client.client import Client
    from engine.client.growing_message import GrowingMessage
    from engine.client.outcome_stream import OutcomeStream
    from engine.client.parts import split
    from engine.client.pieces import Pieces
    from engine.client.plain_text import plain
    from engine.client.safe_line import safe_line
    from engine.client.speaker import SlowDown, Speaker, TooMuchToSay
    from engine.client.subjects import Subjects
    from engine.commands.outcomes import Answer, Failure
    from engine.commands.sender import Sender
    from engine.config.loading import load as load_settings
    from engine.config.personas import Persona
    from engine.config.settings import Settings
    from engine.errors import CannotStart, LLMError
    from providers.base import (
        Completion,
        LLMProvider,
        Message,
        Moderation,
        Options,
        ProviderConfig,
        Status,
        Usage,
    )
    from providers.errors import (
        AuthenticationFailed,
        BadAnswer,
        ConnectionLost,
        ContentWithheld,
        ContextTooLong,
        EmptyAnswer,
        HostExhausted,
        IncompleteAnswer,
        ModelNotFound,
        ParameterRefused,
        ProviderError,
        ProviderTimeout,
        ProviderUnavailable,
        QuotaExhausted,
        RateLimited,
    )
    from providers.local.provider import LocalProvider
    from providers.ollama import OllamaProvider
    from providers.openai import OpenAIProvider
    from providers.openrouter import OpenRouterProvider
    from providers.scripted import ScriptedProvider

_HOMES = {
    "engine.api.answer_stream": ("AnswerStream",),
    "engine.api.service": ("LLMService",),
    "engine.client.address": ("CannotConnect",),
    "engine.client.client": ("Client",),
    "engine.client.growing_message": ("GrowingMessage",),
    "engine.client.outcome_stream": ("OutcomeStream",),
    "engine.client.parts": ("split",),
    "engine.client.pieces": ("Pieces",),
    "engine.client.plain_text": ("plain",),
    "engine.client.safe_line": ("safe_line",),
    "engine.client.speaker": ("SlowDown", "Speaker", "TooMuchToSay"),
    "engine.client.subjects": ("Subjects",),
    "engine.commands.outcomes": ("Answer", "Failure"),
    "engine.commands.sender": ("Sender",),
    "engine.config.personas": ("Persona",),
    "engine.config.settings": ("Settings",),
    "engine.errors": ("CannotStart", "LLMError"),
    "providers.base": (
        "Completion",
        "LLMProvider",
        "Message",
        "Moderation",
        "Options",
        "ProviderConfig",
        "Status",
        "Usage",
    ),
    "providers.errors": (
        "AuthenticationFailed",
        "BadAnswer",
        "ConnectionLost",
        "ContentWithheld",
        "ContextTooLong",
        "EmptyAnswer",
        "HostExhausted",
        "IncompleteAnswer",
        "ModelNotFound",
        "ParameterRefused",
        "ProviderError",
        "ProviderTimeout",
        "ProviderUnavailable",
        "QuotaExhausted",
        "RateLimited",
    ),
    "providers.local.provider": ("LocalProvider",),
    "providers.ollama": ("OllamaProvider",),
    "providers.openai": ("OpenAIProvider",),
    "providers.openrouter": ("OpenRouterProvider",),
    "providers.scripted": ("ScriptedProvider",),
}
_PLACES = {name: (module, name) for module, names in _HOMES.items() for name in names}
_PLACES["load_settings"] = "engine.config.loading", "load"

__all__ = [
    "Answer",
    "AnswerStream",
    "AuthenticationFailed",
    "BadAnswer",
    "CannotConnect",
    "CannotStart",
    "Client",
    "Completion",
    "ConnectionLost",
    "ContentWithheld",
    "ContextTooLong",
    "EmptyAnswer",
    "Failure",
    "GrowingMessage",
    "HostExhausted",
    "IncompleteAnswer",
    "LLMError",
    "LLMProvider",
    "LLMService",
    "LocalProvider",
    "Message",
    "ModelNotFound",
    "Moderation",
    "OllamaProvider",
    "OpenAIProvider",
    "OpenRouterProvider",
    "Options",
    "OutcomeStream",
    "ParameterRefused",
    "Persona",
    "Pieces",
    "ProviderConfig",
    "ProviderError",
    "ProviderTimeout",
    "ProviderUnavailable",
    "QuotaExhausted",
    "RateLimited",
    "ScriptedProvider",
    "Sender",
    "Settings",
    "SlowDown",
    "Speaker",
    "Status",
    "Subjects",
    "TooMuchToSay",
    "Usage",
    "load_settings",
    "plain",
    "safe_line",
    "split",
]


if not TYPE_CHECKING:  # a type checker would take every misspelt name for Any

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module 'rosey_llm' has no attribute {name!r}")
        from rosey_llm.isolation import import_ours

        module, attribute = _PLACES[name]
        value = getattr(import_ours(module), attribute)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
