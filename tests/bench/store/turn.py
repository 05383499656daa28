"""A turn as the engine writes it: put the command, settle its outcome, mark it published."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from engine.clock import now_ms
from engine.commands.outcomes import Answer
from providers.base import Usage
from storage.history import Row
from storage.mailboxes import Accepted, AlreadyWaiting
from storage.outbox import Settled
from storage.writer.database import Write
from tests.bench.store.texts import text
from tests.storage import records


@dataclass(frozen=True, slots=True)
class Turn:
    """A message and its answer, and the writes that store them."""

    channel: str
    request_id: str
    username: str
    message: str
    answer: str

    def put(self) -> Write[Accepted | AlreadyWaiting | Settled]:
        return partial(
            records.put,
            channel=self.channel,
            request_id=self.request_id,
            username=self.username,
            body=b'{"command":"chat","text":"%b"}' % self.message.encode(),
            replies=(),
            now_ms=now_ms(),
            attempts=1,
        )

    def settle(self, row_id: int) -> Write[Settled | None]:
        now = now_ms()
        return partial(
            records.settle,
            row_id=row_id,
            channel=self.channel,
            request_id=self.request_id,
            rows=self._rows(now),
            kind="response",
            body=self._outcome().encode(),
            now_ms=now,
        )

    def _rows(self, now: int) -> tuple[Row, Row]:
        details = {
            "started_ms": now,
            "persona_version": "3f1c5a09b2d7",
            "exchanges": 4,
            "prompt_digest": "5feceb66" * 8,
            "waited_ms": 0,
            "attempts": 1,
            "temperature": 0.7,
        }
        message = Row("message", self.request_id, self.username, self.message, "default")
        answer = Row(
            "answer",
            self.request_id,
            self.username,
            self.answer,
            "default",
            "ollama",
            "llama3.2",
            "stop",
            600,
            50,
            1200,
            details=details,
        )
        return message, answer

    def _outcome(self) -> Answer:
        return Answer(
            channel_id=self.channel,
            request_id=self.request_id,
            action="chat",
            content=self.answer,
            username=self.username,
            persona="default",
            provider="ollama",
            model="llama3.2",
            finish_reason="stop",
            usage=Usage(600, 50),
            latency_ms=1200,
        )


def new_turn(channel: str, username: str, number: int) -> Turn:
    """Return a turn; it is new if its number is."""
    return Turn(channel, f"bench-{number}", username, text(number), text(number + 1))


def published(settled: list[Settled]) -> Write[None]:
    ids = [each.id for each in settled]
    return partial(records.published, outbox_ids=ids, now_ms=now_ms())
