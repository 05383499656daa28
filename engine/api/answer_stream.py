"""`AnswerStream`, the answer of `LLMService.stream`: its pieces, and at the end all of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from engine.commands.outcomes import Answer
from engine.errors import Internal, LLMError
from engine.texts import sentences
from engine.texts.texts import Texts

CLOSE_WAIT_S = 5.0


class GrowingAnswer:
    """The pieces of an answer that were not read yet, and its outcome.

    content: the pieces so far. They have a limit: that of an answer.
    """

    def __init__(self, outcome: asyncio.Future[Answer], texts: Texts) -> None:
        self.outcome = outcome
        self._texts = texts
        self.content = ""
        self.changed = asyncio.Event()
        self._unread: deque[str] = deque()
        self._index = 0
        self._complete = True
        outcome.add_done_callback(lambda _: self.changed.set())

    def add(self, index: int, text: str) -> None:
        """Take a piece. If one is missing, or the answer starts again, take no more of them."""
        self._complete = self._complete and index == self._index
        if self._complete:
            self._index += 1
            self._append(text)

    def take(self) -> str:
        """Return what was not read yet; "" if nothing is there. Raises LLMError at the end."""
        if not self._unread and self.outcome.done():
            answer = self.outcome.result()
            content = answer.content
            if not content.startswith(self.content):
                error = self._texts.say(answer.channel_id, sentences.ANSWER_CHANGED())
                raise LLMError(Internal.code, error)
            self._append(content[len(self.content) :])
        text = "".join(self._unread)
        self._unread.clear()
        return text

    def _append(self, text: str) -> None:
        if text:
            self.content += text
            self._unread.append(text)
            self.changed.set()


class AnswerStream:
    """The pieces of an answer while it grows: an async iterator of texts.

    The question is asked with `async with`, or with the first piece. Joined, the pieces are the
    `content` of `answer`. LLMError comes where the next piece would have come.

    Closing it, leaving its `async with`, dropping it, or cancelling the wait for a piece stops an
    answer that is not complete, unless another call waits for the same request: its turn ends with
    the code "cancelled". Then the pieces just end.
    """

    def __init__(
        self,
        begin: Callable[[], Awaitable[GrowingAnswer]],
        stop: Callable[[GrowingAnswer], bool],
    ) -> None:
        self._begin = begin
        self._stop = stop
        self._growing: GrowingAnswer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._answer: Answer | None = None
        self._ended = False

    @property
    def answer(self) -> Answer:
        """The whole answer, after its last piece; RuntimeError before that, or without one."""
        if self._answer is None:
            raise RuntimeError("The answer is not complete. Read all its pieces first.")
        return self._answer

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        growing = await self._begun()
        while growing is not None and not self._ended:
            try:
                if text := growing.take():
                    return text
            except LLMError:
                self._end()
                raise
            if growing.outcome.done():
                self._answer = growing.outcome.result()
                self._end()
                break
            growing.changed.clear()
            try:
                await growing.changed.wait()
            except asyncio.CancelledError:
                self._end()
                raise
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        await self._begun()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the answer, and wait until its turn is stored, but not for turns before it."""
        if self._end() and self._growing is not None:
            await asyncio.wait({self._growing.outcome}, timeout=CLOSE_WAIT_S)

    async def _begun(self) -> GrowingAnswer | None:
        if self._growing is None and not self._ended:
            self._loop = asyncio.get_running_loop()
            try:
                self._growing = await self._begin()
            except BaseException:
                self._ended = True
                raise
            self._stop_if_ended(self._growing)
        return self._growing

    def _stop_if_ended(self, growing: GrowingAnswer) -> None:
        """Stop an answer whose stream was closed while it began."""
        if self._ended:
            self._stop(growing)

    def _end(self) -> bool:
        """End the stream; return whether this stopped a turn, whose outcome then comes soon."""
        if self._ended:
            return False
        self._ended = True
        if self._growing is None:
            return False
        self._growing.changed.set()
        return self._stop(self._growing)

    def __del__(self) -> None:
        if not self._ended and self._growing is not None and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._stop, self._growing)
