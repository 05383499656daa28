"""One request and its answer: the pieces so far, and the outcome."""

from __future__ import annotations

import asyncio
import contextlib

from engine.commands.outcomes import Answer, Failure
from engine.errors import LLMError


class OpenRequest:
    """A request that was sent, or will be, and what came back.

    - `key`: its channel and its id
    - `token`: the last word of its reply subject
    - `woken`: set when it may have to be sent again, or has its outcome
    - `sent`: how often it was sent
    - `is_heard`: nobody has said that nobody listens; `was_heard` is the same of the copy before
    - `refusal`: why the newest copy was not taken; the request itself may wait for its turn
    - `restarts`: how often the answer began again after the reader had some of it
    - `text`: what the reader was given of the answer; empty again after a restart
    """

    def __init__(self, subject: str, key: tuple[str, str], body: bytes, token: str) -> None:
        self.subject = subject
        self.key = key
        self.body = body
        self.token = token
        self.outcome: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.woken = asyncio.Event()
        self.changed = asyncio.Event()
        self.sent = 0
        self.is_heard = self.was_heard = True
        self.refusal: LLMError | None = None
        self.text = ""
        self.restarts = 0
        self._grown = ""
        self._next = 0

    def grow(self, index: int, delta: str) -> None:
        """Take a piece. After a gap only the outcome helps, or a start from 0."""
        if self.outcome.done():  # it has all of it
            return
        if index == 0:
            self._restart()
        if index == self._next:
            self._next += 1
            self._grown += delta
            self.changed.set()

    def begin_copy(self) -> None:
        """Forget what came back for the copy before."""
        self.sent += 1
        self.was_heard = self.is_heard
        self.is_heard, self.refusal = True, None
        self.woken.clear()

    async def wait(self, limit_s: float) -> None:
        """Wait until it is woken or settled, but no longer than `limit_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not (self.woken.is_set() or self.outcome.done()):
                    await self.woken.wait()

    def take(self) -> str:
        """Return what the reader was not given yet."""
        piece = self._grown[len(self.text) :]
        self.text = self._grown
        return piece

    def settle(self, outcome: Answer | Failure) -> None:
        """Take the outcome; a repeated one changes nothing."""
        if self.outcome.done():
            return
        if isinstance(outcome, Answer):
            if not outcome.content.startswith(self._grown):
                self._restart()
            self._grown = outcome.content
            self.outcome.set_result(outcome)
            self._wake()
            return
        error = outcome.as_error()
        if error.code == "busy" and self.sent > 1:
            self.refusal = error
            self.woken.set()
        else:
            self.fail(error)

    def fail(self, error: LLMError) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)
            self.outcome.exception()  # a reader that has gone need not be told
            self._wake()

    def _restart(self) -> None:
        self.restarts += bool(self.text)
        self.text = self._grown = ""
        self._next = 0

    def _wake(self) -> None:
        self.woken.set()
        self.changed.set()
