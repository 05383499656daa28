"""The load: a process that asks in many channels over NATS.

`python -m tests.bench.load URL SUBJECT...` subscribes to the subjects and writes `{}`. Then each
line of JSON is a loop of `tests.bench.pacing`, a `flood` or a `tell`, and it answers with the
figures. It speaks NATS itself, on a raw protocol, so that the load never limits what is measured.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from time import perf_counter
from typing import Any, cast
from urllib.parse import urlsplit

import orjson

from tests.bench import children, pacing

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":false,"lang":"bench"}\r\n'
CONNECT_LIMIT_S = 10.0
DELTAS = ".stream"
TELL_EACH_S = 0.005


class LoadFailed(Exception):
    """A question got no answer, or a wrong one; the measurement is worthless."""


class Asker(asyncio.Protocol):
    """A NATS connection without credentials that expects exactly one answer to each question."""

    def __init__(self) -> None:
        self._open: dict[str, asyncio.Future[bool]] = {}
        # The engine answers a repeated id from its store; no two askers may use the same one.
        self._run = os.urandom(4).hex()
        self._count = 0
        self._trouble = ""  # the first thing that went wrong
        self._received = b""
        self._outgoing = [CONNECT]
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._pong: asyncio.Future[None]

    async def connect(self, url: str, subjects: Iterable[str]) -> None:
        """Take answers on these subjects; return when the server has the subscriptions."""
        parts = urlsplit(url)
        self._pong = self._loop.create_future()
        await self._loop.create_connection(lambda: self, parts.hostname or "", parts.port or 4222)
        for number, subject in enumerate(subjects, 1):
            self._outgoing.append(f"SUB {subject} {number}\r\n".encode())
        self._outgoing.append(b"PING\r\n")
        self._send()
        async with asyncio.timeout(CONNECT_LIMIT_S):
            await self._pong

    async def ask(self, subject: str, body: bytes, channel: str) -> bool:
        """Ask, and return after the answer whether it was a refusal for now. Raise LoadFailed.

        body: JSON without the last brace.
        """
        if self._trouble:
            raise LoadFailed(self._trouble)
        done: asyncio.Future[bool] = self._loop.create_future()
        self._open[self.tell(subject, body, channel)] = done
        return await done

    def tell(self, subject: str, body: bytes, channel: str) -> str:
        """Ask without waiting for an answer, and return the question's id. body: as for `ask`."""
        self._count += 1
        request_id = f"{self._run}-{self._count}"
        asked = b'%b,"channel_id":"%b","request_id":"%b"}' % (
            body,
            channel.encode(),
            request_id.encode(),
        )
        if not self._outgoing:
            self._loop.call_soon(self._send)
        self._outgoing.append(b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(asked), asked))
        return request_id

    def _send(self) -> None:
        self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("NATS closed the connection")

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        at = 0
        while (line_end := received.find(b"\r\n", at)) >= 0:
            line, at_next = received[at:line_end], line_end + 2
            if line.startswith(b"MSG "):
                _, subject, *_, size = line.split()
                body_end = at_next + int(size)
                if len(received) < body_end + 2:
                    break
                self.on_msg(subject.decode(), received[at_next:body_end])
                at_next = body_end + 2
            elif line == b"PING":
                self._transport.write(b"PONG\r\n")
            elif line == b"PONG":
                self._pong.set_result(None)
            elif line.startswith(b"-ERR"):
                self._fail(line.decode(errors="replace"))
            at = at_next
        self._received = received[at:]

    def on_msg(self, subject: str, data: bytes) -> None:
        if subject.endswith(DELTAS):
            return
        answer = orjson.loads(data)
        done = self._open.pop(answer["request_id"], None)
        busy = answer.get("code") == "busy"
        if done is None or not (busy or answer["type"] == "llm_response"):
            self._fail(f"not an answer to an open question: {data.decode()[:300]}", done)
        elif not done.done():
            done.set_result(busy)

    def _fail(self, why: str, *more: asyncio.Future[bool] | None) -> None:
        self._trouble = self._trouble or why
        for done in (*self._open.values(), *more):
            if done is not None and not done.done():
                done.set_exception(LoadFailed(why))


class Load(pacing.Sender):
    """The answers to the questions: each method is named as in the question's `do`."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._wanted = 0  # commands that wait in the flooded channel
        self._flood = set[asyncio.Task[None]]()
        self._telling: asyncio.Task[None] | None = None
        self._crowding: asyncio.Task[None] | None = None
        self._at_once = self._most_turns = 0

    def ask(self, how: Mapping[str, Any]) -> pacing.Ask:
        return partial(self._asker.ask, how["subject"], orjson.dumps(how["body"])[:-1])

    async def flood(self, *, how: Mapping[str, Any], waiting: int) -> dict[str, Any]:
        """Keep so many commands waiting in one channel, until a `flood` with 0."""
        ask, self._wanted = self.ask(how), waiting

        async def keep_asking() -> None:
            while self._wanted:
                assert not await ask("flooded"), "a command of the flood was refused"

        for _ in range(waiting):
            task = asyncio.create_task(keep_asking())
            self._flood.add(task)
            task.add_done_callback(self._flood.discard)
        return {}

    async def tell(self, *, how: Mapping[str, Any], rate: int) -> dict[str, Any]:
        """Tell so many messages a second in one channel, until a `tell` with 0."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        if rate:
            self._telling = asyncio.create_task(self._tell(how, rate))
        return {}

    async def _tell(self, how: Mapping[str, Any], rate: int) -> None:
        body, told, began = orjson.dumps(how["body"])[:-1], 0, perf_counter()
        while True:
            due = round((perf_counter() - began) * rate)
            for _ in range(due - told):
                self._asker.tell(how["subject"], body, "flooded")
            told = due
            await asyncio.sleep(TELL_EACH_S)

    async def crowd(self, *, how: Mapping[str, Any], at_once: int) -> dict[str, Any]:
        """Let one person ask so much at once in a room, again and again, until a `crowd` with 0.

        Somebody else asks in the middle of it. turns: the most turns of the first person that the
        other one has waited for.
        """
        self._at_once = at_once
        if at_once:
            self._crowding = asyncio.create_task(self._keep_crowding(how))
        elif self._crowding is not None:
            await self._crowding
        return {"turns": self._most_turns}

    async def _keep_crowding(self, how: Mapping[str, Any]) -> None:
        first, other = (
            self.ask({**how, "body": {**how["body"], "user_id": name}}) for name in ("1", "2")
        )
        while self._at_once:
            await self._crowd_once(first, other)

    async def _crowd_once(self, first: pacing.Ask, other: pacing.Ask) -> None:
        turns = 0

        async def flood() -> None:
            nonlocal turns
            refused = await first("crowded")
            turns += not refused

        async def stand_behind() -> None:
            assert not await other("crowded"), "the one who stands behind was refused"
            self._most_turns = max(self._most_turns, turns)

        half = [flood() for _ in range(self._at_once // 2)]
        rest = [flood() for _ in range(self._at_once - len(half))]
        await asyncio.gather(*half, stand_behind(), *rest)


async def main(url: str, *subjects: str) -> None:
    asker = Asker()
    await asker.connect(url, subjects)
    await children.answer_questions(Load(asker))


if __name__ == "__main__":
    children.run(main(*sys.argv[1:]))
