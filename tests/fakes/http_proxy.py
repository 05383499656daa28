"""A real HTTP proxy: tunnels with CONNECT, and requests with an absolute address.

    async with HttpProxy({"llm.example": server.port}) as proxy:
        OpenAIProvider({"base_url": "http://llm.example/v1", "proxy": proxy.url})

It alone knows the names, so a request that does not take the proxy cannot arrive.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

REFUSED = b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n%b\r\n"


class HttpProxy:
    """The proxy, as the module describes it.

    hosts: the port on this machine behind each name.
    login: "user:password" that requests must have; "" for none.
    status: if set, all requests are refused with it.
    seen: method, target and headers of each request. Header names are lower-case.
    """

    def __init__(self, hosts: Mapping[str, int], *, login: str = "", status: int = 0) -> None:
        self.hosts = dict(hosts)
        self.login = login
        self.status = status
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.url = ""
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._pass_on(reader, writer):
                    pass
        finally:
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Pass one request on; return whether another one may follow on the connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        self.seen.append((method, target, headers))
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        host = urlsplit(target if "://" in target else f"//{target}").hostname or ""
        status, more = self.status, b""
        if self.login and headers.get("proxy-authorization") != _basic(self.login):
            status, more = 407, b'Proxy-Authenticate: Basic realm="test"\r\n'
        elif host not in self.hosts:
            status = status or 502
        if status:
            writer.write(REFUSED % (status, more))
            await writer.drain()
            return method != "CONNECT"
        above_reader, above_writer = await asyncio.open_connection("127.0.0.1", self.hosts[host])
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                kept = [
                    line for line in lines if not line.lower().startswith(("proxy-", "connection"))
                ]
                path = urlsplit(target)._replace(scheme="", netloc="").geturl()
                request = "\r\n".join([f"{method} {path} HTTP/1.1", "Connection: close", *kept])
                above_writer.write(request.encode("latin-1") + b"\r\n\r\n" + body)
                first_line = await above_reader.readline()
                writer.write(first_line + b"Connection: close\r\n" * bool(first_line))
            await _both_ways((reader, above_writer), (above_reader, writer))
        finally:
            above_writer.close()
        return False


def _basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode()).decode()}"


async def _both_ways(*ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    """Copy both ways until one of them ends."""
    copies = [asyncio.create_task(_copy(*way)) for way in ways]
    try:
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(65536):
        writer.write(block)
        await writer.drain()
