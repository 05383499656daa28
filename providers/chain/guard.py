"""Holds any provider, ours or a stranger's, to what the seam promises.

Whatever it does, a call ends in time, with an answer that is not empty, or in a ProviderError.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from providers.base import Completion, LLMProvider, Message, Options
from providers.chain.shared_timeout import SharedTimeout
from providers.errors import BadAnswer, IncompleteAnswer, ProviderError, ProviderTimeout

T = TypeVar("T")

CLOSE_LIMIT_S = 10.0
END_LIMIT_S = 2.0
NO_TEXT = "failed: what it said is no text that can be written"

log = logging.getLogger("rosey_llm.providers")


class Guard:
    """A provider behind its deadlines (`ProviderConfig`). A call's `deadline_s` is by `clock`."""

    def __init__(self, provider: LLMProvider, clock: Callable[[], float] = time.monotonic) -> None:
        self._provider = provider
        self._clock = clock
        self._shared_timeout = SharedTimeout()
        config = provider.config
        self._gap_s = config.timeout
        self._first_s = config.first_content_timeout or config.timeout
        self._whole_s = max(self._gap_s, self._first_s)
        self._no_whole = f"gave no answer within {self._whole_s:g} s"
        self._no_first = f"gave no answer within {self._first_s:g} s"
        self._no_more = f"stopped in the middle of its answer (no text for {self._gap_s:g} s)"
        self._no_end = f"did not finish its answer within {config.total_timeout:g} s"

    async def whole(
        self,
        ask: Callable[[LLMProvider, Options], Awaitable[Completion]],
        options: Options,
        deadline_s: float,
    ) -> Completion:
        """What `ask` gets from the provider in one go."""
        completion: object = await self.step(
            partial(ask, self._provider, options), self._whole_s, self._no_whole, deadline_s
        )
        if not isinstance(completion, Completion):
            raise self.bad(f"failed: it answered with {type(completion).__name__}")
        if not _is_text(completion):
            raise self.bad(NO_TEXT)
        if not completion.content.strip():
            raise self.bad("gave an empty answer")
        return completion

    async def begun(
        self, messages: Sequence[Message], options: Options, deadline_s: float
    ) -> TokenStream:
        """A token stream whose first piece is there; the caller closes it."""
        stream = TokenStream(self, partial(self._provider.stream, messages, options), deadline_s)
        try:
            await self.step(stream.begin, self._first_s, self._no_first, deadline_s)
        except BaseException:
            await stream.aclose()
            raise
        return stream

    def following(
        self, ask: Callable[[], Awaitable[T]], deadline_s: float
    ) -> Coroutine[Any, Any, T]:
        """Wait for what comes after the first piece."""
        return self.step(ask, self._gap_s, self._no_more, deadline_s)

    async def step(
        self,
        ask: Callable[[], Awaitable[T]],
        limit_s: float,
        problem: str,
        deadline_s: float = math.inf,
    ) -> T:
        """Wait for one thing of the provider's; `problem` says what is wrong when it is late."""
        left_s = deadline_s - self._clock()
        if left_s < limit_s:
            limit_s, problem = left_s, self._no_end
        wait = self._shared_timeout.within(limit_s)
        try:
            with wait:
                return await ask()
        except (Exception, asyncio.CancelledError) as exc:  # a stranger's may raise anything
            if wait.cancelled and isinstance(exc, asyncio.CancelledError):
                raise
            if wait.expired:
                raise ProviderTimeout(f"{self._provider.label} {problem}") from exc
            if isinstance(exc, ProviderError):
                raise
            log.exception("Provider %s failed.", self._provider.name)
            raise self.bad(f"failed: {type(exc).__name__}") from exc

    def bad(self, problem: str) -> BadAnswer:
        return BadAnswer(f"{self._provider.label} {problem}")

    def incomplete(self, said: str) -> IncompleteAnswer:
        text = f"{self._provider.label} broke off in the middle of its answer"
        return IncompleteAnswer(text, partial=said)


class TokenStream:
    """A provider's stream, checked. `text` is what it has said so far.

    Blank pieces are held back until one shows something: up to then another provider can answer.
    """

    def __init__(
        self, guard: Guard, start: Callable[[], AsyncIterator[str | Completion]], deadline_s: float
    ) -> None:
        self._guard = guard
        self._start = start
        self._deadline_s = deadline_s
        self._source: AsyncIterator[str | Completion] | None = None
        self._completion: Completion | None = None
        self._said: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._said)

    async def begin(self) -> None:
        """Wait until `text` shows something."""
        self._source = aiter(self._start())
        while True:
            match await self._item():
                case str(piece):
                    self._said.append(piece)
                    if piece.strip():
                        return
                case Completion(content) as completion if content.strip():
                    self._said = [content]
                    self._completion = completion
                    return
                case _:
                    raise self._guard.bad("gave an empty answer")

    async def following(self) -> str | Completion:
        """The next piece; at last the completion, whose content is the pieces joined."""
        item: str | Completion | None = self._completion
        if item is None:
            item = await self._guard.following(self._piece, self._deadline_s)
        if isinstance(item, str):
            return item
        # The provider runs to its end: it may free its connection.
        with suppress(ProviderError):
            await self._guard.step(self._item, END_LIMIT_S, "does not end its answer")
        return item._replace(content=self.text)

    async def aclose(self) -> None:
        """Stop the provider's work on it. Its failure to stop is logged, never raised."""
        close = getattr(self._source, "aclose", None)
        if close is not None:
            with suppress(ProviderError):
                await self._guard.step(close, CLOSE_LIMIT_S, "does not close its answer")

    async def _piece(self) -> str | Completion:
        while True:
            item = await self._item()
            if item is None:
                raise self._guard.incomplete(self.text)
            if isinstance(item, Completion):
                return item
            if item:
                self._said.append(item)
                return item

    async def _item(self) -> str | Completion | None:
        assert self._source is not None  # noqa: S101 -- `begin` comes first
        try:
            item: object = await anext(self._source)
        except StopAsyncIteration:
            self._source = None
            return None
        if not isinstance(item, (str, Completion)):
            raise self._guard.bad(f"failed: its token stream gave {type(item).__name__}")
        if not _is_text(item):
            raise self._guard.bad(NO_TEXT)
        return item


def _is_text(item: str | Completion) -> bool:
    """Whether what is said can be written: half a surrogate pair cannot."""
    try:
        "".join((item,) if isinstance(item, str) else item[:3]).encode()
    except (TypeError, UnicodeEncodeError):
        return False
    return True
