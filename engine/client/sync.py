"""`SyncClient`, in `rosey_llm.sync` called `Client`: the same client for bots that use threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from engine.client.client import REPEAT_S, TIMEOUT_S, Asking, AskingModel, Client
from engine.client.outcome_stream import OutcomeStream
from engine.client.pieces import Pieces
from engine.client.subjects import Subjects
from engine.commands.outcomes import Answer, Failure

Result = TypeVar("Result")


class Loop:
    """An event loop in a thread of its own, which any thread may give work."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="rosey-llm-client", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what the coroutine returns; if this wait is interrupted, cancel it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # also Ctrl-C
            future.cancel()
            raise

    @property
    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop):
            self._loop.run_forever()


class SyncPieces:
    """The pieces of an answer while it grows: an iterator of texts, otherwise as `Pieces`."""

    def __init__(self, loop: Loop, pieces: Pieces) -> None:
        self._loop = loop
        self._pieces = pieces

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._pieces.text

    @property
    def restarts(self) -> int:
        """How often the answer began again after some of it had been read."""
        return self._pieces.restarts

    @property
    def answer(self) -> Answer:
        """The whole answer, after its last piece; RuntimeError before that, or without one."""
        return self._pieces.answer

    def __iter__(self) -> Iterator[str]:
        while (piece := self._loop.call(_next(self._pieces))) is not None:
            yield piece

    def __enter__(self) -> Self:
        self._loop.call(self._pieces.__aenter__())
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more."""
        self._loop.call(self._pieces.aclose())


class SyncClient:
    """A `Client` whose calls wait for their results. Any number of threads may use it at once.

    >>> with Client() as rosey:
    ...     answer = rosey.chat("Hello", "irc/#lobby", username="alice")
    """

    def __init__(
        self,
        address: str | Path | None = None,
        *,
        subjects: Subjects | None = None,
        options: Mapping[str, Any] | None = None,
        repeat_s: float = REPEAT_S,
    ) -> None:
        self._stack = AsyncExitStack()
        self._arguments = address, subjects, options, repeat_s
        self._loop: Loop | None = None
        self._client: Client | None = None

    def __enter__(self) -> Self:
        """Connect. Raise CannotConnect if NATS cannot be reached, or refuses the login."""
        loop = Loop()
        try:
            self._client = loop.call(self._connected())
        except BaseException:
            loop.end()
            raise
        self._loop = loop
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        loop, client = self._opened()
        try:
            loop.call(client.__aexit__(exc_type, exc, traceback))
        finally:
            self._loop = self._client = None
            loop.end()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to NATS now."""
        return self._client is not None and self._client.is_connected

    def is_served(self, timeout_s: float = 2.0) -> bool:
        """Return whether a service listens now that this login may ask. Other bots hear nothing."""
        loop, client = self._opened()
        return loop.call(client.is_served(timeout_s))

    def chat(self, message: str, channel_id: str, **more: Unpack[AskingModel]) -> Answer:
        """Ask in a channel's conversation. The message is never read as a command."""
        loop, client = self._opened()
        return loop.call(client.chat(message, channel_id, **more))

    def stream(self, message: str, channel_id: str, **more: Unpack[AskingModel]) -> SyncPieces:
        """Do what `chat` does, and give the answer in pieces while it grows."""
        loop, client = self._opened()
        return SyncPieces(loop, client.stream(message, channel_id, **more))

    def command(self, line: str, channel_id: str, **more: Unpack[Asking]) -> Answer:
        """Send what a user typed after `!chat`: a question, or "help", "model", "stop", ..."""
        loop, client = self._opened()
        return loop.call(client.command(line, channel_id, **more))

    def stream_command(self, line: str, channel_id: str, **more: Unpack[Asking]) -> SyncPieces:
        """Do what `command` does, in pieces if the service has `[conversation] stream` on."""
        loop, client = self._opened()
        return SyncPieces(loop, client.stream_command(line, channel_id, **more))

    def follow(self, request_id: str, channel_id: str, timeout_s: float = TIMEOUT_S) -> SyncPieces:
        """Hear an answer that was asked for elsewhere, in pieces if it has some. Nothing is sent.

        If its outcome has come before this, it does not come again.
        """
        loop, client = self._opened()
        return SyncPieces(loop, client.follow(request_id, channel_id, timeout_s))

    def complete(
        self, prompt: str, channel_id: str = "main", **more: Unpack[AskingModel]
    ) -> Answer:
        """Run one raw completion; it neither reads nor changes a conversation."""
        loop, client = self._opened()
        return loop.call(client.complete(prompt, channel_id, **more))

    def reset(self, channel_id: str, **more: Unpack[Asking]) -> Answer:
        """Clear a channel's conversation."""
        loop, client = self._opened()
        return loop.call(client.reset(channel_id, **more))

    def set_persona(self, name: str, channel_id: str, **more: Unpack[Asking]) -> Answer:
        """Switch a channel's persona."""
        loop, client = self._opened()
        return loop.call(client.set_persona(name, channel_id, **more))

    def set_model(self, name: str, channel_id: str, **more: Unpack[Asking]) -> Answer:
        """Switch a channel's model, if the service lets this sender; "default" switches back."""
        loop, client = self._opened()
        return loop.call(client.set_model(name, channel_id, **more))

    def stop(self, channel_id: str, *, everything: bool = False, **more: Unpack[Asking]) -> Answer:
        """Stop the answer that is being written in a channel, and drop what its sender has waiting.

        everything: drop what all senders have waiting there.
        """
        loop, client = self._opened()
        return loop.call(client.stop(channel_id, everything=everything, **more))

    def outcomes(self) -> Iterator[Answer | Failure]:
        """Return all outcomes from now on, those of other bots too, each of them once.

        It ends when the client is closed by another thread.
        """
        loop, client = self._opened()
        return _read(loop, loop.call(_outcomes(client)))

    async def _connected(self) -> Client:
        address, subjects, options, repeat_s = self._arguments
        client = Client(address, subjects=subjects, options=options, repeat_s=repeat_s)
        return await client.__aenter__()

    def _opened(self) -> tuple[Loop, Client]:
        if self._loop is None or self._client is None:
            raise RuntimeError("Use the client within `with Client(...) as rosey:`.")
        return self._loop, self._client


async def _outcomes(client: Client) -> OutcomeStream:
    return client.outcomes()


def _read(loop: Loop, outcomes: OutcomeStream) -> Iterator[Answer | Failure]:
    while not loop.has_ended and (outcome := loop.call(_next(outcomes))) is not None:
        yield outcome


async def _next(items: Any) -> Any:
    """Return the next item; None after the last one: no future can hold StopAsyncIteration."""
    return await anext(items, None)
