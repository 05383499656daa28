"""A relay between a client and a server, which can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self, SupportsIndex


class _Recorded(asyncio.StreamReader):
    """A stream reader that also keeps all that came in."""

    def __init__(self) -> None:
        super().__init__()
        self.received = bytearray()

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        self.received += bytes(data)
        super().feed_data(data)


class Relay:
    """A port that leads to another one of this machine, while it is not cut.

    heard: called at the end of each connection with all that the client sent.
    """

    def __init__(self, target: int, heard: Callable[[bytes], None] | None = None) -> None:
        self._target = target
        self._heard = heard
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        self._port = 0

    @property
    def port(self) -> int:
        return self._port

    async def mend(self) -> None:
        """Take connections, again on the same port."""
        reader = asyncio.StreamReader if self._heard is None else _Recorded
        self._server = await asyncio.get_running_loop().create_server(
            lambda: asyncio.StreamReaderProtocol(reader(), self._carry), "127.0.0.1", self._port
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """End all connections, and refuse new ones."""
        assert self._server is not None
        self._server.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)
        await self._server.wait_closed()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)
        try:
            with suppress(asyncio.CancelledError):  # `cut`, and this task ends here
                await self._join(reader, writer)
        finally:
            writer.transport.abort()
            if self._heard is not None and isinstance(reader, _Recorded):
                self._heard(bytes(reader.received))

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            ways = {
                asyncio.create_task(_copy(reader, inner_writer)),
                asyncio.create_task(_copy(inner_reader, writer)),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            inner_writer.transport.abort()

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.cut()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
