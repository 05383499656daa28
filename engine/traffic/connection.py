"""The connection to NATS: kept for ever, built anew where nats-py has given up on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from engine.settings import NatsSettings

log = logging.getLogger("rosey_llm.nats")
Handler = Callable[[Msg], None]

CONNECT_TIMEOUT_S = 5.0
FLUSH_TIMEOUT_S = 5
PAUSE_S = 0.5
PAYLOAD_RESERVE_BYTES = 4096


class NotConnected(Exception):
    """There is no server now; what was to be sent must be sent again later."""


class IntakeClient(Client):
    """A client that hands messages to `handler` the moment they are read from the socket.

    nats-py gives each subscription a queue and a task of its own, so messages sent in turn on two
    subjects come out as 0,2,4,1,3,5. The order of a channel must hold over both subjects, and the
    only place where it still exists is the read loop, which calls `_build_message` for one message
    after the other. Handing over right there also means that no queue of nats-py's stands before
    our mailboxes: its limit, which drops, can never be the one that acts first.

    The handler runs inside the read loop: it must return at once and never raise.
    """

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler

    async def take_in(self, subject: str) -> Subscription:
        """Subscribe; the messages go to the handler."""

        async def never(_: Msg) -> None:
            raise AssertionError("messages are handed over before they reach a queue")

        return await self.subscribe(subject, cb=never)

    def _build_message(self, *parts: Any) -> Msg | None:
        self._handler(super()._build_message(*parts))
        return None  # nats-py then takes the message for dealt with


class Connection:
    """Connects, subscribes and says so once each way. `connected` is set while there is a server.

    `losses` counts broken connections: what was sent before one may not have arrived.
    """

    def __init__(
        self,
        settings: NatsSettings,
        url: str,
        subjects: Sequence[str],
        handler: Handler,
        *,
        user: str = "",
        password: str = "",
    ) -> None:
        self.url = url
        self.connected = asyncio.Event()
        self.losses = 0
        self._settings = settings
        self._user = user
        self._password = password
        self._subjects = subjects
        self._handler = handler
        self._client: IntakeClient | None = None
        self._subscriptions: list[Subscription] = []
        self._keeper: asyncio.Task[None] | None = None
        self._taking_in = False
        self._said_missing = False

    def start(self) -> None:
        """Begin to connect; returns at once. The server may come up later."""
        self._keeper = asyncio.create_task(self._keep(), name="nats connection")

    async def take_in(self) -> None:
        """Subscribe, now and on every connection to come."""
        self._taking_in = True
        await self.connected.wait()
        if self._client is not None and not self._subscriptions:
            await self._subscribe(self._client)

    async def stop_intake(self) -> None:
        """Take nothing more; what the server has sent already has been handed over on return."""
        self._taking_in = False
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            with contextlib.suppress(nats.errors.Error, TimeoutError):
                async with asyncio.timeout(FLUSH_TIMEOUT_S):
                    await subscription.drain()  # type: ignore[no-untyped-call]

    async def publish(self, subject: str, body: bytes) -> None:
        """Queue a message for sending; `flush` tells whether it went out. Raises NotConnected."""
        client = self._connected_client()
        try:
            await client.publish(subject, body)
        except (nats.errors.ConnectionClosedError, nats.errors.OutboundBufferLimitError) as exc:
            raise NotConnected(str(exc)) from exc

    async def flush(self) -> None:
        """Returns once the server has taken all that was published. Raises NotConnected."""
        client, losses = self._connected_client(), self.losses
        # nats-py writes the PING of a flush before commands that are still queued; giving the
        # loop one turn lets them go first.
        await asyncio.sleep(0)
        try:
            await client.flush(timeout=FLUSH_TIMEOUT_S)
        except (nats.errors.Error, OSError) as exc:
            raise NotConnected(str(exc)) from exc
        if losses != self.losses or not client.is_connected:
            raise NotConnected("The connection broke.")

    @property
    def max_body_bytes(self) -> int:
        """The largest body that the server takes, with room for subject and headers."""
        limit = self._client.max_payload if self._client else 0
        return (limit or 1024 * 1024) - PAYLOAD_RESERVE_BYTES

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(FLUSH_TIMEOUT_S):
                    await client.close()

    def _connected_client(self) -> IntakeClient:
        if self._client is None or not self._client.is_connected:
            raise NotConnected("There is no connection to NATS.")
        return self._client

    async def _keep(self) -> None:
        while True:
            # nats-py reconnects by itself, but closes for good on most errors of the server.
            closed = asyncio.Event()
            client = await self._connect(closed)
            if client is None:
                await asyncio.sleep(PAUSE_S)
                continue
            self._client = client
            if self._taking_in:
                await self._subscribe(client)
            self._say_connected()
            await closed.wait()
            self._subscriptions = []

    async def _connect(self, closed: asyncio.Event) -> IntakeClient | None:
        client = IntakeClient(self._handler)
        options = client_options(self._settings, self.url, self._user, self._password)
        try:
            # A certificate that does not match makes nats-py wait for ever.
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await client.connect(
                    **options, **self._callbacks(client, closed), max_reconnect_attempts=-1
                )
        except (nats.errors.Error, OSError, TimeoutError) as exc:
            self._say_missing(exc)
            with contextlib.suppress(nats.errors.Error, OSError):
                await client.close()
            return None
        return client

    def _callbacks(self, client: IntakeClient, closed: asyncio.Event) -> dict[str, Any]:
        """What nats-py tells us. It awaits these inside its read loop: they return at once and
        never raise. A client that was given up may still call: only the present one is heard.
        """

        async def on_error(exc: Exception) -> None:
            if client is self._client:
                _log_error(exc)
            else:
                self._say_missing(exc)  # it is still being connected

        async def on_disconnected() -> None:
            if client is self._client:
                self.losses += 1
                self._say_missing()

        async def on_reconnected() -> None:
            if client is self._client:
                self._say_connected()

        async def on_closed() -> None:
            closed.set()

        return {
            "error_cb": on_error,
            "disconnected_cb": on_disconnected,
            "reconnected_cb": on_reconnected,
            "closed_cb": on_closed,
        }

    async def _subscribe(self, client: IntakeClient) -> None:
        try:
            self._subscriptions = [await client.take_in(subject) for subject in self._subjects]
            await self.flush()
        except (nats.errors.Error, NotConnected) as exc:
            # The subscriptions are kept by nats-py, which sends them again when it is back.
            log.debug("NATS: subscribing was interrupted: %s", exc)

    def _say_connected(self) -> None:
        if self._said_missing:
            log.warning("NATS at %s is back.", self.url)
        self._said_missing = False
        self.connected.set()

    def _say_missing(self, exc: BaseException | None = None) -> None:
        self.connected.clear()
        if not self._said_missing:
            reason = f" ({str(exc) or type(exc).__name__})" if exc is not None else ""
            log.warning("NATS at %s is not there%s; trying again for ever.", self.url, reason)
        self._said_missing = True


def _log_error(exc: Exception) -> None:
    if isinstance(exc, nats.errors.SlowConsumerError):
        log.error("NATS dropped a message on %s: nats-py's own queue was full.", exc.subject)
    elif "permissions violation" in str(exc).lower():
        log.error("NATS does not allow it: %s", exc)
    else:
        log.debug("NATS: %r", exc)


def client_options(
    settings: NatsSettings, url: str, user: str = "", password: str = ""
) -> dict[str, Any]:
    """How any client of ours connects to `url`. Secrets stand nowhere but in here."""
    options: dict[str, Any] = {
        "servers": url,
        "name": "rosey-llm",
        "allow_reconnect": True,
        "reconnect_time_wait": PAUSE_S,
        "ping_interval": 10,
        "max_outstanding_pings": 2,
    }
    if user := user or settings.user:
        options |= {"user": user, "password": password or str(settings.password)}
    if settings.token:
        options["token"] = str(settings.token)
    if settings.credentials:
        options["user_credentials"] = settings.credentials
    if context := _tls_context(settings, url):
        # With the handshake first nothing is said in plain text. Otherwise a server without TLS
        # would get the password so, and nobody would hear of it.
        options |= {"tls": context, "tls_handshake_first": settings.tls_first}
    return options


def _tls_context(settings: NatsSettings, url: str) -> ssl.SSLContext | None:
    """The TLS settings as a context; None where no TLS is asked for."""
    if not (url.startswith("tls://") or settings.tls_ca or settings.tls_cert):
        return None
    context = ssl.create_default_context(cafile=settings.tls_ca or None)
    if settings.tls_cert:
        context.load_cert_chain(settings.tls_cert, settings.tls_key or None)
    return context
