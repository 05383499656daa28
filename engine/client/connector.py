"""Connects a client to NATS, with its address, its login and TLS."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from engine.client.address import (
    CannotConnect,
    addresses,
    inbox_prefix,
    read_address,
    without_login,
)

if TYPE_CHECKING:
    from nats.aio.client import Client as NatsPy

CONNECT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 5.0
PAUSE_S = 0.1
REMEDY = "Start the service or the server, or correct the address."
_REMEDIES = {
    "setup": "Correct the address and its login, or the server.",
    "login": "Put the login into the address: nats://user:password@host. The service writes such an"
    " address to data/nats/url.",
    "untrusted": "Name the authority that signed it: options={'tls':"
    " ssl.create_default_context(cafile='ca.pem')}.",
    "certificate": "Load it into the context of options={'tls': context}.",
}


class Connection(NamedTuple):
    """A client with its subscriptions; `lost` is set once it is connected no more."""

    client: NatsPy
    lost: asyncio.Event


class Connector:
    """Makes connections, one after the other.

    - `inbox`: how the reply subjects of the newest one begin
    """

    def __init__(self, address: str | Path | None, options: Mapping[str, Any]) -> None:
        self.inbox = ""
        self._address = address
        self._options = options
        self._mark = secrets.token_hex(8)
        # Servers begin TLS behind their first line, or wait for it in silence.
        self._tls_first = False
        self._uses_tls = False

    async def connect(
        self,
        subscribe: Callable[[NatsPy], Awaitable[None]],
        note: Callable[[Exception], None],
    ) -> Connection:
        """Return a connection. Raise CannotConnect if there is none within 5 s.

        - `subscribe`: called with the client before it is handed out
        - `note`: called for each error of the server, then and later
        """
        import nats.errors

        from engine.client.connect_problems import most_telling

        address = read_address(self._address)
        errors: deque[Exception] = deque(maxlen=16)

        def keep(exc: Exception) -> None:
            errors.append(exc)
            note(exc)

        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                while True:
                    try:
                        return await self._attempt(address, subscribe, keep)
                    except (nats.errors.Error, OSError) as exc:
                        if not errors or not isinstance(exc, nats.errors.NoServersError):
                            errors.append(exc)
                        if not self._may_succeed_now(exc):
                            break
                    await asyncio.sleep(PAUSE_S)
        except TimeoutError as exc:
            errors.append(exc)
        reason = most_telling(errors)
        raise CannotConnect(_sentence(address, reason), reason) from reason

    async def _attempt(
        self,
        address: str,
        subscribe: Callable[[NatsPy], Awaitable[None]],
        note: Callable[[Exception], None],
    ) -> Connection:
        from engine.client.nats_client import NatsClient

        lost = asyncio.Event()

        async def on_error(exc: Exception) -> None:
            note(exc)

        async def on_closed() -> None:
            lost.set()

        client = NatsClient()
        try:
            await client.connect(
                **self._nats_options(address), error_cb=on_error, closed_cb=on_closed
            )
            await subscribe(client)
        except BaseException:
            await discard(client, PAUSE_S)  # it has sent nothing that matters
            raise
        return Connection(client, lost)

    def _may_succeed_now(self, exc: Exception) -> bool:
        """Return whether another attempt may help, and prepare it."""
        from engine.client.connect_problems import problem_of

        if problem_of(exc).kind in ("silent", "no tls", "tls") and self._uses_tls:
            self._tls_first = not self._tls_first
            return True
        # The server may have closed the connection before nats-py read why.
        return isinstance(exc, ConnectionResetError | BrokenPipeError)

    def _nats_options(self, address: str) -> dict[str, Any]:
        servers = addresses(address)
        self._uses_tls = "tls" in self._options or any(
            each.startswith("tls://") for each in servers
        )
        user = self._options.get("user") or urlsplit(servers[0]).username or ""
        self.inbox = f"{self._options.get('inbox_prefix') or inbox_prefix(str(user))}.{self._mark}"
        options: dict[str, Any] = {
            "servers": servers,
            "name": "rosey-llm client",
            "allow_reconnect": False,
            "max_reconnect_attempts": 1,
            "ping_interval": 10,
            "max_outstanding_pings": 2,
        }
        if self._uses_tls:
            # With "tls" no login goes over a connection that is not encrypted.
            options |= {"tls": ssl.create_default_context(), "tls_handshake_first": self._tls_first}
        return {**options, **self._options}


async def discard(client: NatsPy | None, limit_s: float = CLOSE_TIMEOUT_S) -> None:
    """Close a client. nats-py may then wait for ever for its socket, if the server was killed."""
    if client is not None:
        import nats.errors

        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(limit_s):
                await client.close()


def _sentence(address: str, reason: BaseException) -> str:
    from engine.client.connect_problems import problem_of

    kind, problem = problem_of(reason)
    where = without_login(address)
    return f"Cannot connect to NATS at {where}: {problem}. {_REMEDIES.get(kind, REMEDY)}"
