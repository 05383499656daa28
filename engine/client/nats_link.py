"""The connection of a client to NATS: made again after each loss, with its subscriptions."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from engine.client.address import CannotConnect
from engine.client.connector import Connector, discard
from engine.client.subjects import PROBE_HEADER, Subjects

if TYPE_CHECKING:
    from nats.aio.client import Client as NatsPy
    from nats.aio.msg import Msg

log = logging.getLogger("rosey_llm.client")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
NOBODY_LISTENS = "503"
PROBE = {PROBE_HEADER: "1"}
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
        self._connector = Connector(address, options)
        self._subjects = subjects
        self._receiver = receiver
        self._client: NatsPy | None = None
        self._denied: set[str] = set()
        self._hears_requests = False
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
        await discard(self._client)
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
            await self._client.publish(subject, body, f"{self._connector.inbox}.{token}", headers)
        except nats.errors.MaxPayloadError as exc:
            raise ValueError(
                f"The text is too long: its message has {len(body)} bytes, and the NATS server"
                f" takes {self._client.max_payload}. Send a shorter one."
            ) from exc
        except (nats.errors.Error, OSError):  # the connection is lost, and soon made again
            return False
        return True

    async def _keep(self) -> None:
        """Connect again after each loss."""
        pause_s, is_told = FIRST_PAUSE_S, False
        while not self._is_closing:
            await self._lost.wait()
            try:
                await discard(self._client)
                self._client = await self._connected()
            except CannotConnect as exc:
                if not is_told:
                    is_told = True
                    log.warning(
                        "%(problem)s It is tried again until it works.",
                        {"event": "client.disconnected", "problem": str(exc)},
                    )
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                if is_told:
                    log.warning("Connected to NATS again.", {"event": "client.reconnected"})
                pause_s, is_told = FIRST_PAUSE_S, False
                self._receiver.connected()

    async def _connected(self) -> NatsPy:
        """Return a client with its subscriptions."""
        client, self._lost = await self._connector.connect(self._subscribe, self._note)
        return client

    async def _subscribe(self, client: NatsPy) -> None:
        """Hear the shared subjects, by one subscription if that is permitted: it keeps the order.

        nats-py hands over the messages of several subscriptions in any order.
        """
        import nats.errors

        self._denied = set()
        await client.subscribe(f"{self._connector.inbox}.*", cb=self._on_reply)
        await _settled(client)
        if not await self._hears_all_by_one(client):
            for subject in self._subjects.shared:
                await client.subscribe(subject, cb=self._on_shared)
            await _settled(client)
        if not self.hears_shared and f"{self._connector.inbox}.*" in self._denied:
            raise nats.errors.Error(
                f"this login may subscribe neither to {self._subjects.response} and"
                f" {self._subjects.error} nor to its own replies ({self._connector.inbox}.*)"
            )

    async def _hears_all_by_one(self, client: NatsPy) -> bool:
        """Subscribe to all shared subjects at once; return False if that is not to be done.

        It must not hear the requests: NATS would count that as somebody who listens to them, and
        tell no bot that the service is not there. A probe shows it, which only a service answers.
        """
        wildcard = self._subjects.wildcard
        if wildcard is None:
            return False
        self._hears_requests = False
        shared = await client.subscribe(wildcard, cb=self._on_shared)
        reply = f"{self._connector.inbox}.probe"
        await client.publish(self._subjects.request, b"{}", reply, PROBE)
        await _settled(client)
        while shared.pending_msgs:  # noqa: ASYNC110 -- nats-py has no event for it
            await asyncio.sleep(0)
        if not self._hears_requests:
            return wildcard not in self._denied
        await shared.unsubscribe()
        return False

    async def _on_shared(self, msg: Msg) -> None:
        self._hears_requests |= msg.subject == self._subjects.request
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
        names = [*self._subjects, self._subjects.wildcard or "", f"{self._connector.inbox}.*"]
        for subject in names:
            if subject.lower() == found[2]:
                if found[1] == "publish":
                    self._receiver.denied(subject)
                else:
                    self._denied.add(subject)


async def _settled(client: NatsPy) -> None:
    """Wait until the server has said what it refuses. A flush alone may overtake what it is for."""
    await asyncio.sleep(0)
    await client.flush()
