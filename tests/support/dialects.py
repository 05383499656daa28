"""The providers over HTTP, and what their shared tests ask them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest

from providers.base import Completion, Message, Options
from providers.http.provider import HttpProvider
from providers.ollama import OllamaProvider
from providers.openai import OpenAIProvider
from providers.openrouter import OpenRouterProvider

KEY = "sk-proj-0123456789abcdef"
HELLO = [Message("system", "Be kind."), Message("user", "Hello there")]


@dataclass(frozen=True)
class Dialect:
    cls: type[HttpProvider]
    path: str
    label: str

    def at(self, url: str, **config: Any) -> HttpProvider:
        return self.cls({"base_url": url + self.path, "api_key": KEY, **config})


DIALECTS = [
    Dialect(OllamaProvider, "", "Ollama"),
    Dialect(OpenAIProvider, "/v1", "OpenAI"),
    Dialect(OpenRouterProvider, "/api/v1", "OpenRouter"),
]


Asking = Callable[[HttpProvider], Any]


async def by_chat(provider: HttpProvider) -> Completion:
    return await provider.chat(HELLO, Options())


async def by_stream(provider: HttpProvider) -> Completion:
    return (await streamed(provider))[1]


both_ways = pytest.mark.parametrize("ask", [by_chat, by_stream])


async def gather(provider: HttpProvider, into: list[str | Completion]) -> None:
    """Fill `into` with the items, even if the stream ends with an error."""
    async for piece in provider.stream(HELLO, Options()):
        into.append(piece)  # noqa: PERF401


async def streamed(
    provider: HttpProvider, options: Options | None = None
) -> tuple[list[str], Completion]:
    """Return the pieces and the completion, which must be the last item."""
    async with aclosing(provider.stream(HELLO, options or Options())) as items:  # type: ignore[type-var]
        got = [item async for item in items]
    completion = got[-1]
    pieces = [piece for piece in got[:-1] if isinstance(piece, str) and piece]
    assert isinstance(completion, Completion)
    assert len(pieces) == len(got) - 1
    assert "".join(pieces) == completion.content
    return pieces, completion
