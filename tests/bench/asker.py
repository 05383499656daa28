"""The sending side of the load: questions over NATS, each answer matched to its question."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import orjson

from tests.bench.nats_wire import NatsWire

DELTAS = ".stream"


class LoadFailed(Exception):
    """A question got no answer, or a wrong one; the measurement is worthless."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that arrived.

    asked, now: by perf_counter. busy: the engine refused the message for now.
    """

    channel: str
    asked: float
    now: float
    busy: bool


OnAnswered = Callable[[Answered], None]


class Question:
    """A message that is sent many times: `body` with a channel and a new id each time."""

    def __init__(self, subject: str, body: Mapping[str, Any]) -> None:
        self.subject = subject.encode()
        self._beginning = orjson.dumps(body)[:-1]

    def message(self, channel: str, request_id: str) -> bytes:
        return b'%b,"channel_id":"%b","request_id":"%b"}' % (
            self._beginning,
            channel.encode(),
            request_id.encode(),
        )


class Asker:
    """A sender that expects exactly one answer to each question.

    trouble: the first thing that went wrong, or "". deltas: how many arrived.
    """

    def __init__(self) -> None:
        self.wire: NatsWire
        self.deltas = 0
        self.trouble = ""
        self._open: dict[str, tuple[OnAnswered, str, float]] = {}
        self._count = 0

    def ask(
        self, question: Question, channel: str, on_answered: OnAnswered, asked: float | None = None
    ) -> None:
        """Queue a question; `wire.send` sends it. asked: when it was due, by default now."""
        self._count += 1
        request_id = f"r{self._count}"
        self._open[request_id] = (on_answered, channel, asked or perf_counter())
        self.wire.publish(question.subject, question.message(channel, request_id))

    def on_msg(self, subject: str, data: bytes) -> None:
        if subject.endswith(DELTAS):
            self.deltas += 1
            return
        now = perf_counter()
        answer = orjson.loads(data)
        on_answered, channel, asked = self._open.pop(answer["request_id"], (None, "", 0.0))
        busy = answer.get("code") == "busy"
        if on_answered is None:
            self.trouble = f"unexpected answer: {data.decode()[:300]}"
        elif answer["type"] != "llm_response" and not busy:
            self.trouble = f"not an answer: {data.decode()[:300]}"
        else:
            on_answered(Answered(channel, asked, now, busy))

    async def until(self, done: Callable[[], bool], limit_s: float, what: str) -> None:
        """Send what is queued, then wait. Raise LoadFailed on trouble or after `limit_s`."""
        ends = perf_counter() + limit_s
        self.wire.send()
        while not done():
            self.check()
            if perf_counter() > ends:
                raise LoadFailed(f"{what}: not within {limit_s:g} s")
            await asyncio.sleep(0.005)
        self.check()

    def check(self) -> None:
        """Raise LoadFailed if anything went wrong."""
        if trouble := self.trouble or self.wire.trouble:
            raise LoadFailed(trouble)
