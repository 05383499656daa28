"""A tiny NATS client on a raw protocol, so that the load never limits what is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self, cast
from urllib.parse import urlsplit

OnMsg = Callable[[str, bytes], None]
_CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":false,"lang":"bench"}\r\n'


class NatsWire(asyncio.Protocol):
    """A NATS connection without credentials that calls `on_msg(subject, body)` for each message."""

    def __init__(self, on_msg: OnMsg) -> None:
        self._on_msg = on_msg
        self._received = b""
        self._outgoing: list[bytes] = []
        self._transport: asyncio.Transport
        self._pongs: list[asyncio.Future[None]] = []
        self._subscriptions = 0
        self.trouble = ""

    @classmethod
    async def connect(cls, url: str, on_msg: OnMsg) -> Self:
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        host, port = parts.hostname or "", parts.port or 4222
        _, wire = await loop.create_connection(lambda: cls(on_msg), host, port)
        wire._outgoing.append(_CONNECT)
        await wire.flush()
        return wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.trouble = self.trouble or "NATS closed the connection"

    def subscribe(self, subject: str) -> None:
        self._subscriptions += 1
        self._outgoing.append(f"SUB {subject} {self._subscriptions}\r\n".encode())

    def publish(self, subject: bytes, body: bytes) -> None:
        """Queue a message; `send` sends all queued messages."""
        self._outgoing.append(b"PUB %b %d\r\n%b\r\n" % (subject, len(body), body))

    def send(self) -> None:
        if self._outgoing:
            self._transport.write(b"".join(self._outgoing))
            self._outgoing.clear()

    async def flush(self, limit_s: float = 10.0) -> None:
        """Send what is queued and wait until the server has it."""
        pong = asyncio.get_running_loop().create_future()
        self._pongs.append(pong)
        self._outgoing.append(b"PING\r\n")
        self.send()
        async with asyncio.timeout(limit_s):
            await pong

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
                self._on_msg(subject.decode(), received[at_next:body_end])
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
            self._pongs.pop(0).set_result(None)
        elif line.startswith(b"-ERR"):
            self.trouble = line.decode(errors="replace")
