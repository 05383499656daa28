"""The outcome sink of `LLMService`: gives each outcome to the calls that wait for it."""

from __future__ import annotations

import asyncio

from engine.api.answer_stream import GrowingAnswer
from engine.clock import now_ms
from engine.commands.ledger import Ledger
from engine.commands.outcomes import Answer, Delta, Failure, decode
from engine.commands.request import Request
from engine.errors import Busy, LLMError
from engine.texts import sentences
from engine.texts.texts import Texts
from storage.errors import StorageError
from storage.outbox import Settled


class PendingCalls:
    """The calls that wait for an outcome. Several may wait for the same request."""

    def __init__(self, ledger: Ledger, texts: Texts) -> None:
        self._texts = texts
        self._waiting: dict[tuple[str, str], list[asyncio.Future[Answer]]] = {}
        self._growing: dict[tuple[str, str], list[GrowingAnswer]] = {}
        self._ledger = ledger

    def expect(self, request: Request) -> asyncio.Future[Answer]:
        outcome: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault((request.channel_id, request.request_id), []).append(outcome)
        return outcome

    def forget(self, request: Request, outcome: asyncio.Future[Answer]) -> None:
        key = (request.channel_id, request.request_id)
        waiting = self._waiting.get(key, [])
        if outcome in waiting:
            waiting.remove(outcome)
        if not waiting:
            self._waiting.pop(key, None)

    def grow(self, request: Request) -> GrowingAnswer:
        """Expect an outcome whose pieces are wanted, too; `stop_growing` forgets it."""
        outcome = self.expect(request)
        growing = GrowingAnswer(outcome, self._texts)
        self._growing.setdefault(request[:2], []).append(growing)
        # Forgotten once it is there; before that, the stream that reads it may have gone.
        outcome.add_done_callback(lambda _: self._forget_growing(request, growing))
        return growing

    def stop_growing(self, request: Request, growing: GrowingAnswer) -> bool:
        """Take no more pieces; return whether no other call waits for this request's outcome."""
        if growing.outcome.done():
            return False
        self._forget_pieces(request, growing)
        if self._waiting.get(request[:2]) == [growing.outcome]:
            return True
        self.forget(request, growing.outcome)
        return False

    def _forget_growing(self, request: Request, growing: GrowingAnswer) -> None:
        if not growing.outcome.cancelled():
            growing.outcome.exception()  # read, or asyncio logs it if the stream was closed
        self._forget_pieces(request, growing)
        self.forget(request, growing.outcome)

    def _forget_pieces(self, request: Request, growing: GrowingAnswer) -> None:
        listed = self._growing.get(request[:2], [])
        if growing in listed:
            listed.remove(growing)
        if not listed:
            self._growing.pop(request[:2], None)

    def abandon(self) -> None:
        """Fail all waiting calls with `busy`: the engine ends."""
        for (channel_id, _), waiting in self._waiting.items():
            for outcome in waiting:
                if not outcome.done():
                    outcome.set_exception(self.closed(channel_id))

    def closed(self, channel_id: str) -> LLMError:
        """Return the error of a call that finds the service closed."""
        return LLMError(Busy.code, self._texts.say(channel_id, sentences.SERVICE_CLOSED()))

    def publish(self, outcome: Settled) -> None:
        self._resolve(decode(outcome.body))
        # Not awaited: if it fails, the outcome is published again after a restart.
        published = self._ledger.published([outcome.id], now_ms=now_ms())
        published.add_done_callback(_ignore_storage_errors)

    def refuse(self, failure: Failure, replies: tuple[str, ...]) -> None:
        self._resolve(failure)

    def inform(self, answer: Answer, replies: tuple[str, ...]) -> None:
        self._resolve(answer)

    def refuse_privately(self, failure: Failure, replies: tuple[str, ...]) -> None:
        self._resolve(failure)

    def refuse_copy(self, failure: Failure, replies: tuple[str, ...]) -> None:
        """Do nothing: calls in this process have no reply subjects."""

    def delta(self, delta: Delta) -> bool:
        for growing in self._growing.get((delta.channel_id, delta.request_id), ()):
            growing.add(delta.index, delta.delta)  # the last one adds nothing
        return True

    def _resolve(self, outcome: Answer | Failure) -> None:
        for waiting in self._waiting.get((outcome.channel_id, outcome.request_id), []):
            if waiting.done():
                continue
            if isinstance(outcome, Answer):
                waiting.set_result(outcome)
            else:
                waiting.set_exception(outcome.as_error())


def _ignore_storage_errors(done: asyncio.Future[None]) -> None:
    if not done.cancelled() and not isinstance(done.exception(), StorageError | None):
        done.result()
