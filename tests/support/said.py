"""A configuration in which each sentence says its own key, and services that say them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine import LLMError, LLMService
from engine.config.loading import parse
from engine.config.settings import Settings
from engine.texts.table import TABLE
from providers import ScriptedProvider
from providers.base import LLMProvider, Message, Options
from providers.errors import ProviderError
from tests.support.patience import WAIT_S

# "[reset] number" ...: a key, and all values of its placeholders, each in its own brackets.
MARKED: Mapping[str, str] = {
    key: " ".join([f"[{key}]", *(f"<{{{name}}}>" for name in [*each.needed, *each.may])])
    for key, each in TABLE.items()
}
Case = Callable[[Path], Coroutine[Any, Any, str]]


def key_of(text: str) -> str:
    """Return which sentence a text of `MARKED` is."""
    found = re.match(r"\[(\w+)\]", text)
    assert found, text
    return found[1]


def settings(folder: Path, **more: Any) -> Settings:
    return parse({"texts": dict(MARKED), **more}, folder)


def service(
    folder: Path, provider: LLMProvider | None = None, *, memory: bool = True, **more: Any
) -> LLMService:
    database = None if memory else folder / "chat.db"
    return LLMService(
        provider or ScriptedProvider(), settings=settings(folder, **more), database=database
    )


async def error_of(call: Awaitable[Any]) -> str:
    """Return what a call failed with."""
    try:
        async with asyncio.timeout(WAIT_S):
            answer = await call
    except LLMError as exc:
        return str(exc)
    raise AssertionError(f"it did not fail: {answer}")


def failing(make: Callable[[], ProviderError]) -> ScriptedProvider:
    """Return a provider whose calls fail like this."""

    async def script(messages: Sequence[Message], options: Options) -> AsyncIterator[str]:
        if messages:
            raise make()
        yield "never"

    return ScriptedProvider({"max_retries": 0}, script=script)


def saying(*answers: str) -> ScriptedProvider:
    """Return a provider that gives these answers, one after the other."""
    left = list(answers)

    async def script(messages: Sequence[Message], options: Options) -> AsyncIterator[str]:
        yield left.pop(0)

    return ScriptedProvider(script=script)
