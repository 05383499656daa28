"""The outcome sink of the property test: it checks the database at the moment of publishing."""

from __future__ import annotations

import asyncio
from functools import partial

import orjson
from fastjsonschema import JsonSchemaException

from engine.clock import now_ms
from engine.commands.outcomes import Answer, Delta, Failure, decode
from storage.outbox import Settled
from storage.writer.database import Database
from tests.properties.model import ReferenceModel
from tests.properties.witness import DatabaseReader
from tests.support import command_writes
from tests.support.wire_schema import check_sent


class CheckingSink:
    """A sink that checks that every published outcome is stored already, with its history."""

    def __init__(self, model: ReferenceModel, database_reader: DatabaseReader) -> None:
        self._model = model
        self._database_reader = database_reader
        self.database: Database | None = None  # None after the engine has ended

    def publish(self, outcome: Settled) -> None:
        if self.database is None:
            return
        key = (outcome.channel, outcome.request_id)
        if self._database_reader.outcome(key) != outcome.body:
            self._model.violate("an outcome was published before its commit", key, outcome)
        self._check_schema(outcome.body)
        self._check_history(outcome)
        self._model.publish(key, outcome.body)
        mark = partial(command_writes.published, outbox_ids=[outcome.id], now_ms=now_ms())
        self.database.write_soon(mark).add_done_callback(_ignore)

    def refuse(self, failure: Failure, replies: tuple[str, ...]) -> None:
        if self.database is not None:
            self._model.refuse((failure.channel_id, failure.request_id))

    def inform(self, answer: Answer, replies: tuple[str, ...]) -> None:
        if self.database is not None:
            self._model.inform((answer.channel_id, answer.request_id), answer)

    refuse_privately = refuse

    def refuse_copy(self, failure: Failure, replies: tuple[str, ...]) -> None:
        """Do nothing: only the sender of a copy hears it."""

    def delta(self, delta: Delta) -> bool:
        if self.database is not None:
            self._check_schema(delta.encode())
            self._model.delta(delta)
        return True

    def _check_schema(self, body: bytes) -> None:
        try:
            check_sent(orjson.loads(body))
        except JsonSchemaException as exc:
            self._model.violate("a message is not as its schema says", str(exc), body)

    def _check_history(self, outcome: Settled) -> None:
        key = (outcome.channel, outcome.request_id)
        rows = self._database_reader.history(key)
        answer = decode(outcome.body)
        if not rows:
            self._model.violate("an outcome was published without its history", key, outcome)
        elif isinstance(answer, Answer) and answer.action == "chat":
            chat = [("message", answer.content.removeprefix("re: ")), ("answer", answer.content)]
            if rows != chat:
                self._model.violate("history is not what was published", key, rows, answer)


def _ignore(done: asyncio.Future[None]) -> None:
    # If it fails, the outcome is published again after a restart.
    if not done.cancelled():
        done.exception()
