"""The client library with the login of `[nats]`, for a person who waits at a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from engine.client.address import CannotConnect
from engine.client.client import Client
from engine.client.credentials import LoginError
from engine.client.pieces import Pieces
from engine.client.subjects import Subjects
from engine.config.settings import NatsSettings
from engine.traffic.connect_errors import ConnectError
from engine.traffic.login import login_options

client_log = logging.getLogger("rosey_llm.client")

POLL_S = 1.0
GONE_AFTER_S = 4.0


class ServiceGone(Exception):
    """The connection has been lost for seconds; no answer will come."""


@asynccontextmanager
async def service_client(settings: NatsSettings, url: str) -> AsyncIterator[Client]:
    """Yield a client at `url`. Raise ConnectError if there is no server, or if it refuses us."""
    subjects = asdict(settings.subjects)
    try:
        options = login_options(settings, url)
        named = Subjects(**{name: subjects[name] for name in Subjects._fields})
        client = await Client(url, subjects=named, options=options).__aenter__()
    except (LoginError, CannotConnect) as exc:
        reason = exc.reason if isinstance(exc, CannotConnect) else None
        raise ConnectError(url, reason or exc) from exc
    client_log.addFilter(_is_no_loss)
    try:
        yield client
    finally:
        client_log.removeFilter(_is_no_loss)
        await client.__aexit__(None, None, None)


def _is_no_loss(record: logging.LogRecord) -> bool:
    """Leave out that the connection is lost: the chat says it itself, and finds another service."""
    event = record.args.get("event") if isinstance(record.args, dict) else None
    return event not in ("client.disconnected", "client.reconnected")


async def next_piece(client: Client, pieces: Pieces) -> str | None:
    """Return the next piece of an answer; None at its end. Raise LLMError or ServiceGone."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                return await anext(pieces, None)
        if await is_gone(client):
            raise ServiceGone


async def is_gone(client: Client) -> bool:
    """Return whether the connection is lost and stays lost for GONE_AFTER_S."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GONE_AFTER_S):
            while not client.is_connected:  # noqa: ASYNC110 -- it has no event
                await asyncio.sleep(POLL_S / 10)
    return not client.is_connected
