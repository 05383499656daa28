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


if not TYPE_CHECKING:  # else type checkers accept every misspelt name as Any

    def __getattr__(name: str) -> Any:
        # Imported on first use: printing `--help` must not import an HTTP client.
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
