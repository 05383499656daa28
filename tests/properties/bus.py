"""The bus: an outlet that looks at the disk at the instant of sending."""

from __future__ import annotations

import asyncio
from functools import partial

from engine.clock import now_ms
from engine.commands.outcomes import Answer, Failure, decode
from storage import mailboxes
from storage.mailboxes import Settled
from storage.writer.database import Database
from tests.properties.model import Model
from tests.properties.witness import Witness


class Bus:
    """Whatever is published must be on disk already, with its history."""

    def __init__(self, model: Model, witness: Witness) -> None:
        self._model = model
        self._witness = witness
        self.database: Database | None = None  # None: nobody listens any more

    def publish(self, outcome: Settled) -> None:
        if self.database is None:
            return
        key = (outcome.channel, outcome.request_id)
        if self._witness.outcome(key) != outcome.body:
            self._model.violate("an outcome was published before its commit", key, outcome)
        self._check_history(outcome)
        self._model.publish(key, outcome.body)
        mark = partial(mailboxes.published, outbox_ids=[outcome.id], now_ms=now_ms())
        self.database.write_soon(mark).add_done_callback(_ignore)

    def refuse(self, failure: Failure, replies: tuple[str, ...]) -> None:
        if self.database is not None:
            self._model.refuse((failure.channel_id, failure.request_id))

    def delta(self, channel_id: str, request_id: str, index: int, text: str) -> bool:
        if self.database is not None:
            self._model.delta((channel_id, request_id), index)
        return True

    def _check_history(self, outcome: Settled) -> None:
        key = (outcome.channel, outcome.request_id)
        rows = self._witness.history(key)
        said = decode(outcome.body)
        if not rows:
            self._model.violate("an outcome was published without its history", key, outcome)
        elif isinstance(said, Answer) and said.action == "chat":
            chat = [("message", said.content.removeprefix("re: ")), ("answer", said.content)]
            if rows != chat:
                self._model.violate("history is not what was published", key, rows, said)


def _ignore(done: asyncio.Future[None]) -> None:
    # Where it fails, the outcome goes out once more after a restart.
    if not done.cancelled():
        done.exception()
