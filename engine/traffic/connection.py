"""The engine's connection to NATS, which reconnects for ever, also after nats-py has given up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import nats.errors

from engine.client.address import inbox_prefix
from engine.client.connect_problems import is_refusal
from engine.client.credentials import LoginError
from engine.config.settings import NatsSettings
from engine.traffic.connection_reports import ConnectionReports
from engine.traffic.intake import Intake
from engine.traffic.login import PAUSE_S, PING_INTERVAL_S, client_options
from engine.traffic.nats_internals import Handler, IntakeClient
from engine.traffic.permissions import Permissions

log = logging.getLogger("rosey_llm.nats")

CONNECT_TIMEOUT_S = 5.0
FLUSH_TIMEOUT_S = 5
PAYLOAD_RESERVE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ConnectionStatistics:
    """Counts since the start.

    losses: how often the connection was lost. reconnects: how often it came back.
    dropped: messages that nats-py dropped because its queue was full.
    """

    connected: bool
    losses: int
    reconnects: int
    dropped: int


class NotConnected(ConnectionError):
    """There is no connection now; send the message again later."""


class NatsConnection:
    """A connection to NATS that subscribes again after each loss, and logs each loss once.

    connected: set while there is a connection.
    returned: set when a connection is there again after a loss; cleared by the one that waits.
    hearing: set while the server lets the engine hear all its inputs.
    losses: number of lost connections; messages sent just before a loss may not have arrived.
    login_refused: why the server last refused the connection; None while there is one.
    """

    def __init__(
        self,
        settings: NatsSettings,
        url: str,
        *,
        user: str = "",
        password: str = "",
        ping_interval_s: float = PING_INTERVAL_S,
    ) -> None:
        self.url = url
        self.connected = asyncio.Event()
        self.returned = asyncio.Event()
        self.losses = 0
        self.login_refused: BaseException | None = None
        self._connects = self._dropped = 0
        self._settings = settings
        self._user = user
        self._password = password
        self._ping_interval_s = ping_interval_s
        self._permissions = Permissions(settings.subjects)
        self._intake = Intake(self._permissions, self.flush)
        self.hearing = self._intake.hearing
        self._client: IntakeClient | None = None
        self._connecting: IntakeClient | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._intake_started = False
        self._reports = ConnectionReports()

    @property
    def client(self) -> IntakeClient | None:
        """nats-py's client of this moment; None before the first one connects."""
        return self._client

    def statistics(self) -> ConnectionStatistics:
        reconnects = max(0, self._connects - 1)
        return ConnectionStatistics(self.connected.is_set(), self.losses, reconnects, self._dropped)

    @property
    def refused(self) -> str | None:
        """What the server does not permit, and what to do; None if the engine has what it needs."""
        return self._permissions.problem

    def add_intake(self, subjects: Iterable[str], handler: Handler) -> None:
        """Hand the messages on these subjects to the handler; call before `start_intake`.

        The handler runs inside the read loop: it returns at once and never raises.
        """
        self._intake.handlers.update(dict.fromkeys(subjects, handler))

    def add_service(self, subjects: Iterable[str], handler: Handler) -> None:
        """Do `add_intake` for subjects that are heard from the first connection to the end."""
        self.add_intake(subjects, handler)
        self._intake.services.update(subjects)

    def add_answers(self, handler: Handler) -> str:
        """Hand the answers to questions of `ask` to the handler; return their reply subject."""
        reply = f"{inbox_prefix(self._user or self._settings.user)}.{secrets.token_hex(11)}"
        self._permissions.question(subscribe=reply)
        self.add_service([reply], handler)
        return reply

    @property
    def services_refused(self) -> bool:
        """Whether the server has refused the subjects of the micro service."""
        return self._permissions.services_refused

    @property
    def is_clustered(self) -> bool:
        """Whether the server is one of several."""
        return self._client is not None and len(self._client.servers) > 1

    async def ask(
        self, subject: str, body: bytes, reply: str, headers: dict[str, str] | None = None
    ) -> bool:
        """Ask other clients; return False if the server permits no such question.

        If there are none, a message without data comes at once. Raise NotConnected.
        """
        self._permissions.question(publish=subject)
        await self._connected_client().publish(subject, body, reply=reply, headers=headers)
        await self.flush()
        return not self._permissions.refuses_question(subject, reply)

    def start(self) -> None:
        """Begin to connect, and return at once. The server may start later."""
        self._keeper = asyncio.create_task(self._keep_connected(), name="nats connection")

    async def start_intake(self) -> None:
        """Subscribe; return once the server has said whether the engine hears its inputs.

        Waits for the connection; later ones subscribe by themselves.
        """
        self._intake_started = True
        await self.connected.wait()
        if self._client is not None:
            await self._intake.start(self._client)
        await self._intake.answered.wait()

    async def stop_intake(self) -> None:
        """Unsubscribe all but the services; on return the handler has all that the server sent."""
        self._intake_started = False
        await self._intake.stop()

    async def publish(self, subject: str, body: bytes) -> None:
        """Queue a message; a `flush` that returns means it was sent. Raise NotConnected."""
        client = self._connected_client()
        try:
            await client.publish(subject, body)
        except (nats.errors.ConnectionClosedError, nats.errors.OutboundBufferLimitError) as exc:
            raise NotConnected(str(exc)) from exc
        self._permissions.published(subject)

    async def flush(self) -> None:
        """Return once the server has taken all that was published. Raise NotConnected."""
        client, losses = self._connected_client(), self.losses
        # nats-py writes the PING of a flush before messages that are still queued; one turn of
        # the event loop lets them go first.
        await asyncio.sleep(0)
        try:
            await client.flush(timeout=FLUSH_TIMEOUT_S)
        except (nats.errors.Error, OSError) as exc:
            raise NotConnected(str(exc)) from exc
        if losses != self.losses or not client.is_connected:
            raise NotConnected("The connection broke.")
        self._permissions.flushed()

    @property
    def port(self) -> int | None:
        """The port of the server that is used now; None without a connection."""
        url = self._client.connected_url if self._client is not None else None
        return url.port if url is not None else None

    @property
    def max_body_bytes(self) -> int:
        """The largest body that the server takes, less a reserve for subject and headers."""
        limit = self._client.max_payload if self._client else 0
        return (limit or 1024 * 1024) - PAYLOAD_RESERVE_BYTES

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        # One that was just connecting has its socket, too.
        clients, self._client = {self._client, self._connecting}, None
        for client in filter(None, clients):
            # uvloop raises RuntimeError for a socket that is already closed.
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError, RuntimeError):
                try:
                    async with asyncio.timeout(FLUSH_TIMEOUT_S):
                        await client.close()
                finally:
                    client.close_socket()

    def _connected_client(self) -> IntakeClient:
        if self._client is None or not self._client.is_connected:
            raise NotConnected("There is no connection to NATS.")
        return self._client

    async def _keep_connected(self) -> None:
        while True:
            try:
                await self._run_once()
            except Exception:  # the task's edge: without it the engine would stay disconnected
                log.exception(
                    "The connection to NATS crashed; connecting again.",
                    {"event": "nats.connection_crashed"},
                )
            await asyncio.sleep(PAUSE_S)

    async def _run_once(self) -> None:
        # nats-py reconnects by itself, but closes for ever on most errors of the server.
        closed = asyncio.Event()
        client = await self._connect(closed)
        if client is None:
            return
        self._client = client
        await self._intake.start_services(client)
        if self._intake_started:
            await self._intake.start(client)
        # It may have been lost meanwhile, and come back: then `on_reconnected` has said so.
        if client.is_connected and not self.connected.is_set():
            self._note_connected()
        await closed.wait()
        self._intake.closed()

    async def _connect(self, closed: asyncio.Event) -> IntakeClient | None:
        try:
            options = client_options(
                self._settings, self.url, self._user, self._password, self._ping_interval_s
            )
        except LoginError as exc:
            self._note_missing(exc)
            return None
        client = IntakeClient(lambda msg: self._intake.handlers[msg.subject](msg))
        self._connecting = client
        try:
            # If the certificate does not match, nats-py waits for ever.
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                # Without echo, the server says if nobody else hears a question (`ask`).
                await client.connect(
                    **options,
                    **self._callbacks(client, closed),
                    max_reconnect_attempts=-1,
                    no_echo=True,
                )
        except (nats.errors.Error, OSError, TimeoutError) as exc:
            self._note_missing(exc)
            with contextlib.suppress(nats.errors.Error, OSError):
                await client.close()
            return None
        return client

    def _callbacks(self, client: IntakeClient, closed: asyncio.Event) -> dict[str, Any]:
        """Return nats-py's callbacks. It awaits them in its read loop: they return at once and
        never raise. A client that was replaced may still call them: that changes nothing.
        """

        async def on_error(exc: Exception) -> None:
            self._dropped += isinstance(exc, nats.errors.SlowConsumerError)
            if client is self._client and client.is_connected:
                self._note_error(exc)
            elif client is self._connecting:  # the newest one, connected or not
                self._note_missing(exc)

        async def on_disconnected() -> None:
            if client is self._client:
                self.losses += 1
                self._intake.lost()
                self._note_missing()

        async def on_reconnected() -> None:
            if client is self._client:
                self._note_connected()
                if self._intake_started:
                    self._intake.confirm_soon()

        async def on_closed() -> None:
            closed.set()

        return {
            "error_cb": on_error,
            "disconnected_cb": on_disconnected,
            "reconnected_cb": on_reconnected,
            "closed_cb": on_closed,
        }

    def _note_connected(self) -> None:
        self._reports.connected(self.url, self.losses)
        self.login_refused = None
        self._connects += 1
        self.connected.set()
        if self.losses:
            self.returned.set()

    def _note_missing(self, exc: BaseException | None = None) -> None:
        self.connected.clear()
        if is_refusal(exc):  # a later error, such as a timeout, says less
            self.login_refused = exc
        self._reports.missing(self.url, exc)

    def _note_error(self, exc: Exception) -> None:
        if isinstance(exc, nats.errors.SlowConsumerError):
            self._reports.dropped(exc)
        elif self._permissions.note(exc):
            self._intake.refused()
        else:
            log.debug("NATS: %(error)r", {"event": "nats.reported", "error": exc})
