"""nats-py's client without its worst faults; it uses its private API, as `nats_internals` does.

nats-py is pinned to the one minor version for which this was written. A test checks the
signatures of the methods and the presence of the attributes below.

Overridden methods of `nats.aio.client.Client`:

_process_pong           a PONG that comes after its flush timed out must not end the read loop
_connect_to_server      a connection that was refused must not stay open
_connect_command        no password may be sent in plain text when TLS is required
_read_creds_user_jwt    reading a file that is not a .creds file must end
_read_creds_user_nkey   the same
connect, flush, request a cancellation must not be lost

Attributes of the client that these read or set:

_pongs, _pongs_received, _pings_outstanding   the state of `_process_pong`
_transport              closed before a new connection; its `_io_writer` tells whether TLS is on
_current_server         whether the connection is a secure websocket

Attribute of asyncio: `StreamReaderProtocol._over_ssl`, which nats-py leaves false after it starts
TLS on a connection; asyncio then logs a warning when the connection ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from engine.client.credentials import LoginError, read_credentials

FLUSH_TIMEOUT_S = 10  # nats-py's default


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
    """nats-py's client whose faults in the docstring of this module are mended."""

    async def connect(self, *args: Any, **options: Any) -> None:
        with cancellable():
            await super().connect(*args, **options)

    async def flush(self, timeout: int = FLUSH_TIMEOUT_S) -> None:
        with cancellable():
            await super().flush(timeout)

    async def request(self, *args: Any, **options: Any) -> Msg:
        with cancellable():
            return await super().request(*args, **options)

    def close_socket(self) -> None:
        """Close the socket, if `close` was cut off before that."""
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]

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
            protocol = writer.transport.get_protocol()
            if protocol is not None:  # the server has not refused our certificate by now
                protocol._over_ssl = True

    def _is_encrypted(self) -> bool:
        if self._current_server is not None and self._current_server.uri.scheme == "wss":
            return True
        writer = getattr(self._transport, "_io_writer", None)
        return writer is not None and writer.get_extra_info("ssl_object") is not None

    def _read_creds_user_jwt(self, creds: Any) -> bytearray:
        return bytearray(read_credentials(str(creds))[1].encode())

    def _read_creds_user_nkey(self, creds: Any) -> bytearray:
        return bytearray(read_credentials(str(creds))[0].encode())
