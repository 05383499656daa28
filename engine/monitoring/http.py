"""A small HTTP server that shows read-only pages to operators."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from engine.config.settings import HttpSettings

log = logging.getLogger("rosey_llm.http")
PORTS_TRIED = 100
CONNECTIONS_LIMIT = 64
END_LIMIT_S = 1.0
# The time for the head of a request, from the connection or the last response on.
HEAD_LIMIT_S = 10.0
NAME_LIMIT_S = 2.0
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class HttpPage:
    """The content of a response."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200


Pages = Mapping[str, Callable[[], Awaitable[HttpPage]]]


class HttpServer:
    """A server that answers GET requests for `pages`, by path.

    Its errors are logged and do not affect the engine.

    url: where it listens; None if it does not.
    """

    def __init__(self, settings: HttpSettings, pages: Pages) -> None:
        self._settings = settings
        self._pages = pages
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._is_loopback = True
        self._silent: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}
        self.url: str | None = None

    async def start(self) -> None:
        """Listen on the port, or on the next free one; if none can be used, log an error."""
        try:
            listening = await self._listen()
        except (OSError, UnicodeError) as exc:  # also if the host name is unknown or invalid
            wanted = f"{self._settings.host}:{self._settings.port}"
            why = getattr(exc, "strerror", None) or str(exc) or "its name was not found in time"
            log.error(
                "No health and metrics: cannot listen on %(address)s (%(error)s). Set [http] host"
                " and port.",
                {"event": "http.start_failed", "address": wanted, "error": why},
            )
            return
        await self._serve(listening)

    async def stop(self) -> None:
        self.url = None
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for timer in self._silent.values():
            timer.cancel()
        self._silent.clear()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _serve(self, listening: socket.socket) -> None:
        app = web.Application(middlewares=[self._guard])
        for path, page in self._pages.items():
            app.router.add_get(path, _handler(page))
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=END_LIMIT_S,
            keepalive_timeout=2 * HEAD_LIMIT_S,  # `_expect_head` ends it earlier
            lingering_time=0.0,
        )
        await self._runner.setup()
        protocols = self._runner.server
        assert protocols is not None  # noqa: S101 -- `setup` has made it

        def connected() -> asyncio.BaseProtocol:
            if len(protocols.connections) < CONNECTIONS_LIMIT:
                protocol = protocols()
                self._expect_head(protocol)
                return protocol
            return _Refused()

        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(connected, sock=listening)

    def _expect_head(self, protocol: asyncio.BaseProtocol) -> None:
        """Close the connection if no request comes in time: silent ones must not fill our places.

        aiohttp limits only the time between two requests, not that of a request's head.
        """
        loop = asyncio.get_running_loop()
        self._silent[protocol] = loop.call_later(HEAD_LIMIT_S, self._close_silent, protocol)

    def _close_silent(self, protocol: asyncio.BaseProtocol) -> None:
        del self._silent[protocol]
        transport = getattr(protocol, "transport", None)
        if transport is not None:
            transport.abort()

    def _note_head(self, protocol: asyncio.BaseProtocol) -> None:
        timer = self._silent.pop(protocol, None)
        if timer is not None:
            timer.cancel()

    async def _listen(self) -> socket.socket:
        """Return a socket on the configured port, or on the next free one. Raises OSError."""
        host, wanted = self._settings.host, self._settings.port
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(NAME_LIMIT_S):
            found = await loop.getaddrinfo(host, wanted, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        for port in _candidate_ports(wanted):
            try:
                listening = socket.create_server((address[0], port), family=family)
            except OSError as exc:
                if exc.errno != errno.EADDRINUSE:
                    raise
                continue
            self._note_address(str(address[0]), listening.getsockname()[1])
            return listening
        raise OSError(errno.EADDRINUSE, f"no port is free from {wanted} upwards")

    def _note_address(self, address: str, port: int) -> None:
        ip = ipaddress.ip_address(address.partition("%")[0])
        if ip.is_unspecified:  # every address of the machine, this one among them
            address = "127.0.0.1" if ip.version == 4 else "::1"
        self.url = f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
        if self._settings.port not in (0, port):
            log.info(
                "Port %(wanted)d is taken; health and metrics are on %(port)d.",
                {"event": "http.port_changed", "wanted": self._settings.port, "port": port},
            )
        self._is_loopback = ip.is_loopback
        if not ip.is_loopback:
            log.warning(
                "Health and metrics are on %(host)s, port %(port)d, without a login: all who can"
                " reach it can read them. Set [http] host to 127.0.0.1, or put a proxy or a"
                " firewall in front.",
                {"event": "http.exposed", "host": ip, "port": port},
            )

    @web.middleware
    async def _guard(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        self._note_head(request.protocol)
        try:
            return await self._checked(request, handler)
        finally:
            if request.transport is not None:  # still connected
                self._expect_head(request.protocol)

    async def _checked(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        if request.can_read_body:
            request.protocol.close()  # so that the body is not read
            return web.Response(status=413, text="Send no body.\n")
        if self._is_loopback and not self._host_is_allowed(request):
            # A web page in a browser on this machine, whose host name was made to resolve to us.
            return web.Response(status=421, text="Use localhost or 127.0.0.1 as the host.\n")
        return await handler(request)

    def _host_is_allowed(self, request: web.Request) -> bool:
        try:
            name = urlsplit(f"//{request.host}").hostname
        except ValueError:
            return False
        return name in (*LOOPBACK_NAMES, self._settings.host)


class _Refused(asyncio.Protocol):
    """A protocol that closes its connection at once: there are too many already."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _handler(
    page: Callable[[], Awaitable[HttpPage]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        content = await page()
        response = web.Response(body=content.body, status=content.status, headers=HEADERS)
        response.headers["Content-Type"] = content.content_type
        response.enable_compression()
        return response

    return answer


def _candidate_ports(wanted: int) -> Iterator[int]:
    yield from range(wanted, min(wanted + PORTS_TRIED, 65536)) if wanted else (0,)
