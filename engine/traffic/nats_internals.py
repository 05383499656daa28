"""Subclasses of nats-py's client that use its private API; no other module uses private members.

nats-py is pinned to the one minor version for which this was written. A test checks the
signatures of the methods and the presence of the attributes below.

Overridden methods of `nats.aio.client.Client`:

_build_message          the only place where messages of two subjects are still in their order
_process_headers        headers that are not text must not end the read loop
_process_pong           a PONG that comes after its flush timed out must not end the read loop
_connect_to_server      a connection that was refused must not stay open
_connect_command        no password may be sent in plain text when TLS is required
_read_creds_user_jwt    reading a file that is not a .creds file must end
_read_creds_user_nkey   the same
connect, flush, request a cancellation must not be lost

Attributes of the client that these read or set:

_ps                     replaced by a parser that takes the same spaces as the server
_pongs, _pongs_received, _pings_outstanding   the state of `_process_pong`
_transport              closed before a new connection; its `_io_writer` tells whether TLS is on
_current_server         whether the connection is a secure websocket

Attribute of asyncio: `StreamReaderProtocol._over_ssl`, which nats-py leaves false after it starts
TLS on a connection; asyncio then logs a warning when the connection ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.protocol.parser import Parser

from engine.traffic.login import LoginError, read_credentials

Handler = Callable[[Msg], None]
FLUSH_TIMEOUT_S = 10  # nats-py's default
# Valid JSON contains neither character, so no valid message changes.
_ODD_SPACES = bytes.maketrans(b"\v\f", b"\0\0")


@contextmanager
def cancellable() -> Iterator[None]:
    """Raise a cancellation that the block has swallowed.

    Before Python 3.12, `asyncio.wait_for` returns or raises as if nothing were, if it is cancelled
    in the moment in which it ends; nats-py waits by it. The task would go on, for ever perhaps.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError


class NatsClient(Client):
    """nats-py's client without its worst faults; the module docstring lists them."""

    async def connect(self, *args: Any, **options: Any) -> None:
        with cancellable():
            await super().connect(*args, **options)

    async def flush(self, timeout: int = FLUSH_TIMEOUT_S) -> None:
        with cancellable():
            await super().flush(timeout)

    async def request(self, *args: Any, **options: Any) -> Msg:
        with cancellable():
            return await super().request(*args, **options)

    async def _connect_to_server(self, s: Any) -> None:
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]
        await super()._connect_to_server(s)

    async def _process_pong(self) -> None:
        # A flush that timed out leaves a finished future behind. Setting its result would end the
        # read loop: the client would stay connected, but receive nothing.
        if self._pongs and self._pongs[0].done():
            self._pongs.pop(0)
            self._pongs_received += 1
            self._pings_outstanding = 0
            return
        await super()._process_pong()

    def _connect_command(self) -> bytes:
        if "tls" in self.options and not self._is_encrypted():
            raise LoginError("TLS is required, but the server does not offer it; no login was sent")
        self._mark_stream_as_tls()
        return super()._connect_command()

    def _mark_stream_as_tls(self) -> None:
        """Set what asyncio sets on its own connections, or it warns when they end."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None and writer.get_extra_info("ssl_object") is not None:
            writer.transport.get_protocol()._over_ssl = True

    def _is_encrypted(self) -> bool:
        if self._current_server is not None and self._current_server.uri.scheme == "wss":
            return True
        writer = getattr(self._transport, "_io_writer", None)
        return writer is not None and writer.get_extra_info("ssl_object") is not None

    def _read_creds_user_jwt(self, creds: Any) -> bytearray:
        return bytearray(read_credentials(str(creds))[1].encode())

    def _read_creds_user_nkey(self, creds: Any) -> bytearray:
        return bytearray(read_credentials(str(creds))[0].encode())


class IntakeParser(Parser):
    """A parser that does not split words at a vertical tab or a form feed.

    nats-py splits there and the server does not, so a sender could break the connection by a reply
    subject with such a character.
    """

    async def parse(self, data: bytes = b"") -> None:
        await super().parse(data.translate(_ODD_SPACES))


class IntakeClient(NatsClient):
    """A client that hands each message to `handler` as soon as it is read from the socket.

    nats-py gives each subscription its own queue and task, so messages sent in turn on two subjects
    come out as 0,2,4,1,3,5. The order of a channel must hold across both subjects, and it still
    exists only in the read loop, which calls `_build_message` for one message after the other.
    It also bypasses nats-py's queues, which drop messages when full: only our mailboxes limit.

    The handler runs in the read loop: it must return at once and never raise. An exception there
    ends the loop silently, so no content of a message may cause one.
    """

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler
        self._ps = IntakeParser(self)

    async def start_intake(self, subject: str) -> Subscription:
        """Subscribe `subject` for the handler."""

        async def never(_: Msg) -> None:
            raise AssertionError("messages are handed over before they reach a queue")

        return await self.subscribe(subject, cb=never)

    async def _process_headers(self, headers: Any) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (ValueError, IndexError):  # malformed, or not text
            return None

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg | None:
        try:
            msg = super()._build_message(sid, subject, reply, data, headers)
        except UnicodeDecodeError:  # a reply subject that is not text cannot get an answer
            msg = super()._build_message(sid, subject, b"", data, headers)
        self._handler(msg)
        return None  # nats-py then does nothing more with the message
