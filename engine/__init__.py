"""The conversation engine: one actor per channel.

>>> from engine import LLMService
>>> from providers import OllamaProvider
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.api.service import LLMService
    from engine.commands.outcomes import Answer
    from engine.errors import LLMError

__all__ = ["Answer", "LLMError", "LLMService"]


if not TYPE_CHECKING:  # a type checker would take every misspelt name for Any

    def __getattr__(name: str) -> Any:
        # Loaded when asked for: the command line must not import an HTTP client to print its help.
        if name == "LLMService":
            from engine.api.service import LLMService

            return LLMService
        if name == "LLMError":
            from engine.errors import LLMError

            return LLMError
        if name == "Answer":
            from engine.commands.outcomes import Answer

            return Answer
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
