"""Providers of language models behind one interface, `LLMProvider`. Independent of the engine."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from providers.base import Completion, LLMProvider, Message, Moderation, Options, Status, Usage
    from providers.local.provider import LocalProvider
    from providers.ollama import OllamaProvider
    from providers.openai import OpenAIProvider
    from providers.openrouter import OpenRouterProvider
    from providers.scripted import ScriptedProvider

__all__ = [
    "Completion",
    "LLMProvider",
    "LocalProvider",
    "Message",
    "Moderation",
    "OllamaProvider",
    "OpenAIProvider",
    "OpenRouterProvider",
    "Options",
    "ScriptedProvider",
    "Status",
    "Usage",
]

_HOMES = {
    "LocalProvider": "local.provider",
    "OllamaProvider": "ollama",
    "OpenAIProvider": "openai",
    "OpenRouterProvider": "openrouter",
    "ScriptedProvider": "scripted",
}


if not TYPE_CHECKING:  # a type checker would take every misspelt name for Any

    def __getattr__(name: str) -> Any:
        # Imported on first use, so that one provider does not load the HTTP client of another.
        if name not in __all__:
            raise AttributeError(f"module 'providers' has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'base')}"), name)
