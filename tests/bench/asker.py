"""Messages out over NATS, and each answer to whoever asked."""

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
    """Something was not answered, or not with an answer; the measurement is void."""


@dataclass(frozen=True, slots=True)
class Answered:
    """asked and now: by perf_counter; busy: it was refused, and may come again."""

    channel: str
    asked: float
    now: float
    busy: bool


OnAnswered = Callable[[Answered], None]


class Question:
    """What is asked on a subject, again and again: `body`, with a channel and an id of its own."""

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
    """Every question gets exactly one answer; whatever else comes is trouble."""

    def __init__(self) -> None:
        self.wire: NatsWire
        self.deltas = 0
        self.trouble = ""
        self._open: dict[str, tuple[OnAnswered, str, float]] = {}
        self._count = 0

    def ask(
        self, question: Question, channel: str, on_answered: OnAnswered, asked: float | None = None
    ) -> None:
        """asked: when it should have been; now where nothing else is said. `wire.send` sends it."""
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
            self.trouble = f"nobody had asked: {data.decode()[:300]}"
        elif answer["type"] != "llm_response" and not busy:
            self.trouble = f"not an answer: {data.decode()[:300]}"
        else:
            on_answered(Answered(channel, asked, now, busy))

    async def until(self, done: Callable[[], bool], limit_s: float, what: str) -> None:
        """Look every few milliseconds. Raises LoadFailed."""
        ends = perf_counter() + limit_s
        self.wire.send()
        while not done():
            self.check()
            if perf_counter() > ends:
                raise LoadFailed(f"{what}: not within {limit_s:g} s")
            await asyncio.sleep(0.005)
        self.check()

    def check(self) -> None:
        """Raises LoadFailed where anything went wrong."""
        if trouble := self.trouble or self.wire.trouble:
            raise LoadFailed(trouble)
