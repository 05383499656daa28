"""A proxy between an engine and its NATS server, which holds back what the engine should hear."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """A proxy before the server; while `flowing` is cleared, the engine receives nothing.

    left: set once one side has left.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.left = asyncio.Event()
        self._target = port
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator[Proxy]:
        self = cls(port)
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Small, so that data held back fills the server's buffers and not the kernel's.
        link = socket.socket()
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        link.setblocking(False)
        await asyncio.get_running_loop().sock_connect(link, ("127.0.0.1", self._target))
        there, back = await asyncio.open_connection(sock=link, limit=16384)
        flows = [
            asyncio.create_task(self._flow(there, writer, self.flowing)),
            asyncio.create_task(self._flow(reader, back, None)),
        ]
        self._tasks.update(flows)
        await asyncio.wait(flows, return_when=asyncio.FIRST_COMPLETED)
        self.left.set()
        for end in (writer, back):
            end.close()
            with suppress(OSError):
                await end.wait_closed()

    async def _flow(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        flowing: asyncio.Event | None,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(4096):
                if flowing is not None:
                    await flowing.wait()
                writer.write(data)
                await writer.drain()
