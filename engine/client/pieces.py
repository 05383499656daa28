"""The answer of `Client.stream`: its pieces while it grows, and at the end all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from engine.client.open_request import OpenRequest
from engine.commands.outcomes import Answer


class Pieces:
    """The pieces of an answer while it grows: an async iterator of texts.

    The question is sent with `async with`, or with the first piece. Joined, the pieces are `text`,
    and at the end the `content` of `answer`. LLMError comes in place of the next piece.

    If the service is killed and starts again, the answer does, too: `restarts` is then one higher,
    `text` was emptied, and the next piece is the first one again. A room whose messages can be
    changed needs only `text`.

    Leaving it early stops listening, not the answer; `Client.stop` stops that.
    """

    def __init__(
        self,
        begin: Callable[[], OpenRequest],
        carry: Callable[[OpenRequest], Coroutine[Any, Any, Answer]],
    ) -> None:
        self._begin = begin
        self._carry = carry
        self._request: OpenRequest | None = None
        self._task: asyncio.Task[Answer] | None = None
        self._ended = False

    @property
    def text(self) -> str:
        """The answer so far."""
        return "" if self._request is None else self._request.text

    @property
    def restarts(self) -> int:
        """How often the answer began again after some of it had been read."""
        return 0 if self._request is None else self._request.restarts

    @property
    def answer(self) -> Answer:
        """The whole answer, after its last piece; RuntimeError before that, or without one."""
        outcome = None if self._request is None else self._request.outcome
        if outcome is None or not outcome.done() or outcome.exception() is not None:
            raise RuntimeError("The answer is not complete. Read all its pieces first.")
        return outcome.result()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        request = self._begun()
        while not self._ended and request is not None:
            if piece := request.take():
                return piece
            if request.outcome.done():
                self._ended = True
                request.outcome.result()
                break
            request.changed.clear()
            await request.changed.wait()
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        self._begun()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Listen no more. A reader in another task gets no more pieces."""
        self._ended = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._request is not None:
            self._request.changed.set()

    def _begun(self) -> OpenRequest | None:
        if self._request is None and not self._ended:
            self._request = self._begin()
            self._task = asyncio.create_task(self._carry(self._request))
            self._task.add_done_callback(_retrieve)
        return self._request


def _retrieve(task: asyncio.Task[Answer]) -> None:
    """Look at an error: the reader gets it from the request, if there is still one."""
    if not task.cancelled():
        task.exception()
