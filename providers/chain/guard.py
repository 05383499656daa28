"""Enforces the rules of `LLMProvider` on a provider, whether ours or another author's.

Whatever the provider does, a call ends in time, with a non-empty answer or a ProviderError.
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

from providers import origin
from providers.base import Completion, LLMProvider, Message, Options
from providers.chain.shared_timeout import SharedTimeout
from providers.errors import (
    BadAnswer,
    EmptyAnswer,
    HostExhausted,
    IncompleteAnswer,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
)
from providers.host_exhausted import host_exhausted
from providers.invisible import is_blank

T = TypeVar("T")

CLOSE_LIMIT_S = 10.0
END_LIMIT_S = 2.0
END = object()  # what a token stream gives at its end
NO_TEXT = "failed: its answer is not valid Unicode text"

log = logging.getLogger("rosey_llm.providers")


class Guard:
    """A wrapper that enforces a provider's time limits and checks its answers.

    `deadline_s` of a call is the time, by `clock`, at which the whole call must be over.
    """

    def __init__(self, provider: LLMProvider, clock: Callable[[], float] = time.monotonic) -> None:
        self._provider = provider
        self._clock = clock
        self._shared_timeout = SharedTimeout()
        config = provider.config
        self._gap_s = config.timeout
        self._first_s = config.first_content_timeout or config.timeout
        self._whole_s = max(self._gap_s, self._first_s)
        self._whole_late = f"gave no answer within {self._whole_s:g} s"
        self._first_late = f"gave no answer within {self._first_s:g} s"
        self._next_late = f"stopped in the middle of its answer (no text for {self._gap_s:g} s)"
        self._end_late = f"did not finish its answer within {config.total_timeout:g} s"

    async def answer(
        self,
        ask: Callable[[LLMProvider, Options], Awaitable[Completion]],
        options: Options,
        deadline_s: float,
    ) -> Completion:
        """Return the completion that `ask` gets from the provider."""
        completion: object = await self.step(
            partial(ask, self._provider, options), self._whole_s, self._whole_late, deadline_s
        )
        if not isinstance(completion, Completion):
            raise self.bad_answer(f"failed: it returned {type(completion).__name__}")
        if not _is_text(completion):
            raise self.bad_answer(NO_TEXT)
        if is_blank(completion.content):
            raise self.empty_answer(completion)
        return completion

    async def open_stream(
        self, messages: Sequence[Message], options: Options, deadline_s: float
    ) -> TokenStream:
        """Return a token stream after its first piece has arrived. The caller must close it."""
        stream = TokenStream(self, partial(self._provider.stream, messages, options), deadline_s)
        try:
            await self.step(stream.begin, self._first_s, self._first_late, deadline_s)
        except BaseException:
            await stream.aclose()
            raise
        return stream

    def next_step(
        self, ask: Callable[[], Awaitable[T]], deadline_s: float
    ) -> Coroutine[Any, Any, T]:
        """Wait for `ask` with the time limit of every piece after the first."""
        return self.step(ask, self._gap_s, self._next_late, deadline_s)

    async def step(
        self,
        ask: Callable[[], Awaitable[T]],
        limit_s: float,
        problem: str,
        deadline_s: float = math.inf,
    ) -> T:
        """Return what `ask` returns; ProviderTimeout with `problem` if it takes too long."""
        left_s = deadline_s - self._clock()
        if left_s < limit_s:
            limit_s, problem = left_s, self._end_late
        wait = self._shared_timeout.within(limit_s)
        try:
            with wait:
                return await ask()
        except (Exception, asyncio.CancelledError) as exc:  # a provider may raise anything
            if wait.cancelled and isinstance(exc, asyncio.CancelledError):
                raise
            if wait.expired:
                raise ProviderTimeout(f"{self._provider.label} {problem}") from exc
            if exhausted := self._exhausted(exc):
                raise exhausted from exc
            if isinstance(exc, ProviderError):
                raise
            log.exception(
                "Provider %(provider)s failed.",
                {"event": "provider.crashed", "provider": self._provider.name, **origin.named()},
            )
            raise self.bad_answer(f"failed: {type(exc).__name__}") from exc

    def _exhausted(self, exc: BaseException) -> HostExhausted | None:
        """Return the error to raise if this machine is to blame for a failure of the provider."""
        if isinstance(exc, ProviderError) and not isinstance(exc, ProviderUnavailable):
            return None
        return host_exhausted(exc, self._provider.label)

    def bad_answer(self, problem: str) -> BadAnswer:
        return BadAnswer(f"{self._provider.label} {problem}")

    def empty_answer(self, completion: Completion | None) -> BadAnswer:
        """Return the error for an answer without text; None: it ended without a completion.

        With a reason such as "length", another call would end like this one.
        """
        empty = self.bad_answer("gave an empty answer")
        if completion is None or completion.finish_reason == "stop":
            return EmptyAnswer(str(empty))
        return empty

    def incomplete_answer(self, partial: str) -> IncompleteAnswer:
        text = f"{self._provider.label} broke off in the middle of its answer"
        return IncompleteAnswer(text, partial=partial)


class TokenStream:
    """A provider's token stream with checks. `text` is the answer so far.

    Blank pieces at the start are held back until there is visible text: until then another provider
    can answer instead.
    """

    def __init__(
        self, guard: Guard, start: Callable[[], AsyncIterator[str | Completion]], deadline_s: float
    ) -> None:
        self._guard = guard
        self._start = start
        self._deadline_s = deadline_s
        self._source: AsyncIterator[str | Completion] | None = None
        self._completion: Completion | None = None
        self._texts: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._texts)

    async def begin(self) -> None:
        """Wait until `text` is not blank."""
        source = self._source = aiter(self._start())
        while True:
            match self._checked(await anext(source, END)):
                case str(piece):
                    self._texts.append(piece)
                    if not is_blank(piece):
                        return
                case Completion(content) as completion if not is_blank(content):
                    self._texts = [content]
                    self._completion = completion
                    return
                case without_text:
                    raise self._guard.empty_answer(without_text)

    async def next(self) -> str | Completion:
        """Return the next piece; at the end, the completion with all the text."""
        item: str | Completion | None = self._completion
        if item is None:
            item = await self._guard.next_step(self._next_piece, self._deadline_s)
        if isinstance(item, str):
            return item
        # Let the provider's generator finish, so that it can free its connection.
        with suppress(ProviderError):
            await self._guard.step(self._end, END_LIMIT_S, "did not end its answer")
        return item._replace(content=self.text)

    async def aclose(self) -> None:
        """Stop the provider's work on the answer. Never raises."""
        close = getattr(self._source, "aclose", None)
        if close is not None:
            with suppress(ProviderError):
                await self._guard.step(close, CLOSE_LIMIT_S, "did not close its answer")

    async def _next_piece(self) -> str | Completion:
        assert self._source is not None  # noqa: S101 -- `begin` comes first
        while True:
            item = self._checked(await anext(self._source, END))
            if item is None:
                raise self._guard.incomplete_answer(self.text)
            if isinstance(item, Completion):
                return item
            if item:
                self._texts.append(item)
                return item

    async def _end(self) -> None:
        if self._source is not None:
            self._checked(await anext(self._source, END))

    def _checked(self, item: object) -> str | Completion | None:
        """Return an item of the provider's, or None at the end of its stream. Raises BadAnswer."""
        if isinstance(item, str) and item.isascii():  # as nearly all are
            return item
        if item is END:
            self._source = None
            return None
        if not isinstance(item, (str, Completion)):
            raise self._guard.bad_answer(f"failed: its token stream gave {type(item).__name__}")
        if not _is_text(item):
            raise self._guard.bad_answer(NO_TEXT)
        return item


def _is_text(item: str | Completion) -> bool:
    """Return whether the text can be encoded as UTF-8: half a surrogate pair cannot."""
    try:
        "".join((item,) if isinstance(item, str) else item[:3]).encode()
    except (TypeError, UnicodeEncodeError):
        return False
    return True
