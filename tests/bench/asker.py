"""The sending side of the load: questions over NATS, each answer matched to its question.

It speaks NATS itself, on a raw protocol, so that the load never limits what is measured.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, cast
from urllib.parse import urlsplit

import orjson

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":false,"lang":"bench"}\r\n'
CONNECT_LIMIT_S = 10.0
DELTAS = ".stream"


class LoadFailed(Exception):
    """A question got no answer, or a wrong one; the measurement is worthless."""


class Question:
    """A message that is sent many times: `body` with a channel and a new id each time.

    may_be_busy: the engine may refuse the message for now.
    """

    def __init__(self, subject: str, body: Mapping[str, Any], may_be_busy: bool = False) -> None:
        self.subject = subject.encode()
        self.may_be_busy = may_be_busy
        self._beginning = orjson.dumps(body)[:-1]

    def message(self, channel: str, request_id: str) -> bytes:
        return b'%b,"channel_id":"%b","request_id":"%b"}' % (
            self._beginning,
            channel.encode(),
            request_id.encode(),
        )


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that arrived; asked, now: by perf_counter. busy: it is a refusal."""

    channel: str
    asked: float
    now: float
    busy: bool


OnAnswered = Callable[[Answered], None]


class Asker(asyncio.Protocol):
    """A NATS connection without credentials that expects exactly one answer to each question.

    trouble: the first thing that went wrong, or "".
    """

    def __init__(self) -> None:
        self.trouble = ""
        self._open: dict[str, tuple[OnAnswered, str, float, bool]] = {}
        # The engine answers a repeated id from its store; no two askers may use the same one.
        self._run = os.urandom(4).hex()
        self._count = 0
        self._received = b""
        self._outgoing = [CONNECT]
        self._transport: asyncio.Transport
        self._pong: asyncio.Future[None]

    async def connect(self, url: str, subjects: Iterable[str]) -> None:
        """Take answers on these subjects; return when the server has the subscriptions."""
        parts, loop = urlsplit(url), asyncio.get_running_loop()
        self._pong = loop.create_future()
        await loop.create_connection(lambda: self, parts.hostname or "", parts.port or 4222)
        for number, subject in enumerate(subjects, 1):
            self._outgoing.append(f"SUB {subject} {number}\r\n".encode())
        self._outgoing.append(b"PING\r\n")
        self.send()
        async with asyncio.timeout(CONNECT_LIMIT_S):
            await self._pong

    def ask(
        self, question: Question, channel: str, on_answered: OnAnswered, asked: float | None = None
    ) -> None:
        """Queue a question; `send` sends it. asked: when it was due, by default now."""
        self._count += 1
        request_id = f"{self._run}-{self._count}"
        asked = asked or perf_counter()
        self._open[request_id] = (on_answered, channel, asked, question.may_be_busy)
        body = question.message(channel, request_id)
        self._outgoing.append(b"PUB %b %d\r\n%b\r\n" % (question.subject, len(body), body))

    def send(self) -> None:
        if self._outgoing:
            self._transport.write(b"".join(self._outgoing))
            self._outgoing.clear()

    async def until(self, done: Callable[[], bool], limit_s: float) -> None:
        """Send what is queued, then wait. Raise LoadFailed on trouble or after `limit_s`."""
        ends = perf_counter() + limit_s
        self.send()
        while not done() and not self.trouble:
            if perf_counter() > ends:
                self.trouble = f"{len(self._open)} messages not answered within {limit_s:g} s"
            await asyncio.sleep(0.005)
        if self.trouble:
            raise LoadFailed(self.trouble)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.trouble = self.trouble or "NATS closed the connection"

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        at = 0
        while (line_end := received.find(b"\r\n", at)) >= 0:
            line = received[at:line_end]
            at_next = line_end + 2
            if line.startswith(b"MSG "):
                _, subject, *_, size = line.split()
                body_end = at_next + int(size)
                if len(received) < body_end + 2:
                    break
                self.on_msg(subject.decode(), received[at_next:body_end])
                at_next = body_end + 2
            else:
                self._on_control(line)
            at = at_next
        self._received = received[at:]
        self.send()

    def _on_control(self, line: bytes) -> None:
        if line == b"PING":
            self._outgoing.append(b"PONG\r\n")
        elif line == b"PONG":
            self._pong.set_result(None)
        elif line.startswith(b"-ERR"):
            self.trouble = line.decode(errors="replace")

    def on_msg(self, subject: str, data: bytes) -> None:
        if subject.endswith(DELTAS):
            return
        now = perf_counter()
        answer = orjson.loads(data)
        found = self._open.pop(answer["request_id"], None)
        if found is None:
            self.trouble = f"unexpected answer: {data.decode()[:300]}"
            return
        on_answered, channel, asked, may_be_busy = found
        busy = may_be_busy and answer.get("code") == "busy"
        if answer["type"] != "llm_response" and not busy:
            self.trouble = f"not an answer: {data.decode()[:300]}"
        else:
            on_answered(Answered(channel, asked, now, busy))
