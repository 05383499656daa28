"""A provider that answers from a script, without a model or a network, for tests and demos."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from providers import errors
from providers.base import (
    Completion,
    LLMProvider,
    Message,
    Options,
    ProviderConfig,
    Status,
    Usage,
)
from providers.validation import Count, Range

CALLS_KEPT = 10_000

Action = Literal["chat", "stream", "complete"]
Delay = Annotated[float, Range(least=0)]
Script = Callable[[Sequence[Message], Options], AsyncIterator[str]]

FAILURES: dict[str, type[errors.ProviderError]] = {
    "provider_unavailable": errors.ProviderUnavailable,
    "provider_timeout": errors.ProviderTimeout,
    "provider_auth": errors.AuthenticationFailed,
    "rate_limited": errors.RateLimited,
    "model_not_found": errors.ModelNotFound,
    "context_too_long": errors.ContextTooLong,
    "refused": errors.ContentWithheld,
    "provider_error": errors.BadAnswer,
}


@dataclass(frozen=True, kw_only=True)
class ScriptedConfig(ProviderConfig):
    """The settings of a scripted provider. Times in seconds.

    reply: the answer; `{message}` is replaced by the newest user message.
    chunk_words: words in a streamed piece.
    delay: the wait before the first piece. chunk_delay: the wait before each later piece.
    max_concurrency: an answer takes nothing but time, so as many as commands may wait.
    fail: an error code; if set, every call fails with it.
    """

    default_model: str = "scripted"
    max_concurrency: Count = 10_000
    reply: str = "You said: {message}"
    chunk_words: Count = 1
    delay: Delay = 0.0
    chunk_delay: Delay = 0.0
    fail: Literal[
        "",
        "provider_unavailable",
        "provider_timeout",
        "provider_auth",
        "rate_limited",
        "model_not_found",
        "context_too_long",
        "refused",
        "provider_error",
    ] = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A call, as the provider received it."""

    messages: tuple[Message, ...]
    options: Options
    action: Action


class ScriptedProvider(LLMProvider):
    """A provider that answers with `reply`, or with the pieces that `script` yields.

    A script may raise any ProviderError and wait for events. Each word counts as a token.
    `calls` holds the newest 10,000 calls.
    """

    kind: ClassVar[str] = "scripted"
    Config = ScriptedConfig
    config: ScriptedConfig

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        script: Script | None = None,
    ) -> None:
        super().__init__(config, name=name)
        self.calls: deque[Call] = deque(maxlen=CALLS_KEPT)
        self._script = script or self._reply_pieces

    async def chat(self, messages: Sequence[Message], options: Options) -> Completion:
        return await self._answer("chat", messages, options)

    async def complete(self, prompt: str, options: Options) -> Completion:
        return await self._answer("complete", [Message("user", prompt)], options)

    def stream(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        self._record("stream", messages, options)
        return self._run(messages, options)

    def reply_to(self, question: str) -> str:
        """Return the whole answer to the newest user message."""
        return self.config.reply.replace("{message}", question)

    async def is_available(self) -> bool:
        return not self.config.fail

    async def status(self) -> Status:
        if not self.config.fail:
            return Status(True)
        return Status(False, self._failure_text(), FAILURES[self.config.fail].needs_person)

    async def models(self) -> list[str]:
        return [self.config.default_model]

    def _record(self, action: Action, messages: Sequence[Message], options: Options) -> None:
        self.calls.append(Call(tuple(messages), options, action))

    def _failure_text(self) -> str:
        return f"{self.label} fails as configured ({self.config.fail})"

    async def _answer(
        self, action: Action, messages: Sequence[Message], options: Options
    ) -> Completion:
        self._record(action, messages, options)
        completion: str | Completion = ""
        async for item in self._run(messages, options):
            completion = item
        assert isinstance(completion, Completion)  # noqa: S101 -- `_run` always ends with it
        return completion

    async def _run(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        if self.config.fail:
            raise FAILURES[self.config.fail](self._failure_text())
        model, _, most = self.settled(options)
        texts: list[str] = []
        words = 0
        finish_reason = "stop"
        async with aclosing(_closable(self._script(messages, options))) as pieces:
            async for piece in pieces:
                kept, count = _cut(piece, None if most is None else most - words)
                words += count
                if kept:
                    texts.append(kept)
                    yield kept
                if kept != piece:
                    finish_reason = "length"
                    break
        usage = Usage(sum(len(message.content.split()) for message in messages), words)
        yield Completion("".join(texts), model, finish_reason, usage)

    async def _reply_pieces(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str]:
        questions = [message.content for message in messages if message.role == "user"]
        words = re.findall(r"\s*\S+\s*", self.reply_to(questions[-1] if questions else ""))
        wait_s = self.config.delay
        for start in range(0, len(words), self.config.chunk_words):
            if wait_s:
                await asyncio.sleep(wait_s)
            yield "".join(words[start : start + self.config.chunk_words])
            wait_s = self.config.chunk_delay


def _cut(piece: str, most: int | None) -> tuple[str, int]:
    """Return the piece, cut after `most` words, and its number of words."""
    words = list(re.finditer(r"\S+", piece))
    if most is None or len(words) <= most:
        return piece, len(words)
    return piece[: words[most - 1].end()] if most else "", most


async def _closable(pieces: AsyncIterator[str]) -> AsyncGenerator[str, None]:
    try:
        async for piece in pieces:
            yield piece
    finally:
        # Otherwise an unfinished generator would clean up only when it is garbage-collected.
        if hasattr(pieces, "aclose"):
            await pieces.aclose()
