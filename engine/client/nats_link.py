"""The connection of a client to NATS: made again after each loss, with its subscriptions."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from engine.client.address import CannotConnect, read_address, without_login
from engine.client.subjects import Subjects

if TYPE_CHECKING:
    from nats.aio.client import Client as NatsPy
    from nats.aio.msg import Msg

CONNECT_TIMEOUT_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
NOBODY_LISTENS = "503"
_VIOLATION = re.compile(r'permissions violation for (subscription|publish) to "([^"]*)"')


class LinkReceiver(Protocol):
    """What a link hands over. Every method returns at once and never raises."""

    def heard(self, subject: str, data: bytes) -> None:
        """Take a message of a shared subject."""

    def replied(self, token: str, data: bytes) -> None:
        """Take a reply to the message that was sent with this token."""

    def unheard(self, token: str) -> None:
        """Note that nobody listened to the message that was sent with this token."""

    def denied(self, subject: str) -> None:
        """Note that this login may not publish on the subject."""

    def connected(self) -> None:
        """Note that there is a connection again: what was sent before may be lost."""


class NatsLink:
    """A connection that is made again until `close`.

    nats-py's own way to reconnect is not used: it keeps to the address of its start, it sends what
    it kept back before others have subscribed again, and some errors of a server end it for good.
    """

    def __init__(
        self,
        address: str | Path | None,
        options: Mapping[str, Any],
        subjects: Subjects,
        receiver: LinkReceiver,
    ) -> None:
        self._address = address
        self._options = options
        self._subjects = subjects
        self._receiver = receiver
        self._mark = secrets.token_hex(8)
        self._client: NatsPy | None = None
        self._inbox = ""
        self._denied: set[str] = set()
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        # Before Python 3.12 nats-py may swallow a cancellation while it connects.
        self._is_closing = False

    @property
    def is_connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    @property
    def hears_shared(self) -> bool:
        """Whether this login may hear the answers to all bots."""
        return not self._denied.intersection((self._subjects.response, self._subjects.error))

    async def open(self) -> None:
        """Connect, and stay connected until `close`. Raise CannotConnect."""
        self._client = await self._connected()
        self._keeper = asyncio.create_task(self._keep(), name="rosey-llm-client")

    async def close(self) -> None:
        self._is_closing = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        await self._discard(self._client)
        self._client = None

    async def publish(
        self, subject: str, body: bytes, token: str, headers: dict[str, str] | None = None
    ) -> bool:
        """Send a message whose reply is wanted; return False if it cannot be sent now.

        Raise ValueError if it is longer than the server takes.
        """
        import nats.errors

        if self._client is None or not self._client.is_connected:
            return False
        try:
            await self._client.publish(subject, body, f"{self._inbox}.{token}", headers)
        except nats.errors.MaxPayloadError as exc:
            raise ValueError(
                f"The message has {len(body)} bytes, and the NATS server takes"
                f" {self._client.max_payload}. Send a shorter one."
            ) from exc
        except (nats.errors.Error, OSError):  # the connection is lost, and soon made again
            return False
        return True

    async def _keep(self) -> None:
        """Connect again after each loss."""
        pause_s = FIRST_PAUSE_S
        while not self._is_closing:
            await self._lost.wait()
            try:
                await self._discard(self._client)
                self._client = await self._connected()
            except CannotConnect:
                self._lost.set()
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                pause_s = FIRST_PAUSE_S
                self._receiver.connected()

    async def _connected(self) -> NatsPy:
        """Return a client with its subscriptions."""
        import nats.errors
        from nats.aio.client import Client as NatsPy

        address = read_address(self._address)
        lost = self._lost = asyncio.Event()
        errors: deque[Exception] = deque(maxlen=16)
        client = NatsPy()

        async def on_error(exc: Exception) -> None:
            errors.append(exc)
            self._note(exc)

        async def on_closed() -> None:
            lost.set()

        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await client.connect(
                    **self._nats_options(address), error_cb=on_error, closed_cb=on_closed
                )
                await self._subscribe(client)
        except (nats.errors.Error, OSError, TimeoutError, ValueError) as exc:
            await self._discard(client)
            # nats-py says at last that there is no server; the error before it says why.
            reason = errors[-1] if errors and not isinstance(exc, ValueError) else exc
            raise CannotConnect(_sentence(address, reason)) from exc
        except asyncio.CancelledError:
            await self._discard(client)
            raise
        return client

    def _nats_options(self, address: str) -> dict[str, Any]:
        user = self._options.get("user") or urlsplit(address.split(",")[0]).username or ""
        named = re.fullmatch(r"[\w-]+", str(user))
        # A login may be permitted to read its own replies only (docs/security.md).
        prefix = self._options.get("inbox_prefix") or (f"_INBOX.{user}" if named else "_INBOX")
        self._inbox = f"{prefix}.{self._mark}"
        return {
            "servers": [each.strip() for each in address.split(",")],
            "name": "rosey-llm client",
            "allow_reconnect": False,
            "max_reconnect_attempts": 1,
            "ping_interval": 10,
            "max_outstanding_pings": 2,
            # The login goes out only when the connection is encrypted.
            "tls_handshake_first": address.startswith("tls://"),
            **self._options,
        }

    async def _subscribe(self, client: NatsPy) -> None:
        """Hear the shared subjects, by one subscription if that is permitted: it keeps the order.

        nats-py hands over the messages of several subscriptions in any order.
        """
        self._denied = set()
        wildcard = self._subjects.wildcard
        await client.subscribe(f"{self._inbox}.*", cb=self._on_reply)
        if wildcard is not None:
            await client.subscribe(wildcard, cb=self._on_shared)
        await _settled(client)
        if wildcard is None or wildcard in self._denied:
            for subject in self._subjects.shared:
                await client.subscribe(subject, cb=self._on_shared)
            await _settled(client)
        if not self.hears_shared and f"{self._inbox}.*" in self._denied:
            raise ValueError(
                f"this login may subscribe neither to {self._subjects.response} and"
                f" {self._subjects.error} nor to its own replies ({self._inbox}.*)"
            )

    async def _on_shared(self, msg: Msg) -> None:
        self._receiver.heard(msg.subject, msg.data)

    async def _on_reply(self, msg: Msg) -> None:
        token = msg.subject.rpartition(".")[2]
        if msg.headers and msg.headers.get("Status") == NOBODY_LISTENS:
            self._receiver.unheard(token)
        else:
            self._receiver.replied(token, msg.data)

    def _note(self, exc: Exception) -> None:
        """Keep what the server does not permit; nats-py gives its sentence in lower case."""
        found = _VIOLATION.search(str(exc).lower())
        if found is None:
            return
        names = [*self._subjects, self._subjects.wildcard or "", f"{self._inbox}.*"]
        for subject in names:
            if subject.lower() == found[2]:
                if found[1] == "publish":
                    self._receiver.denied(subject)
                else:
                    self._denied.add(subject)

    async def _discard(self, client: NatsPy | None) -> None:
        """Close a client; if its server was killed, nats-py may wait for ever for its socket."""
        if client is not None:
            import nats.errors

            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await client.close()


async def _settled(client: NatsPy) -> None:
    """Wait until the server has said what it refuses. A flush alone may overtake what it is for."""
    await asyncio.sleep(0)
    await client.flush()


def _sentence(address: str, reason: BaseException) -> str:
    match reason:
        case TimeoutError():
            problem = "it does not answer as a NATS server does"
        case OSError(errno=int(number)) if number > 0:
            problem = os.strerror(number)
        case _:
            problem = str(reason).removeprefix("nats: ").strip("'.") or type(reason).__name__
    todo = "Start the service or the server, or correct the address and its login."
    return f"Cannot connect to NATS at {without_login(address)}: {problem}. {todo}"
