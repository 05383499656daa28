"""Both ways to ask a provider, of both kinds that speak HTTP, at a name that only a proxy knows."""

from __future__ import annotations

import pytest

from providers.base import Completion, Message, Options
from providers.http.provider import HttpProvider
from providers.ollama import OllamaProvider

HELLO = [Message("user", "Hello")]
HOST = "llm.example"


async def by_chat(provider: HttpProvider) -> str:
    return (await provider.chat(HELLO, Options())).content


async def by_stream(provider: HttpProvider) -> str:
    items = [item async for item in provider.stream(HELLO, Options())]
    assert isinstance(items[-1], Completion)
    return items[-1].content


both_ways = pytest.mark.parametrize("ask", [by_chat, by_stream])


def path_of(kind: type[HttpProvider]) -> str:
    return "" if kind is OllamaProvider else "/v1"
