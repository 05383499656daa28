"""An embedded NATS server, and clients that are connected to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import nats
from nats.aio.client import Client

from engine.traffic.embedded.server import BotLogin, BotRights, EmbeddedNats
from tests.support.patience import WAIT_S

INPUTS = ("rosey.command.chat", "llm.request")
OUTPUTS = ("llm.response", "llm.error", "llm.stream")
RIGHTS = BotRights(publish=INPUTS, subscribe=OUTPUTS)


def embedded(store_dir: Path, port: int = 0, logins: Sequence[BotLogin] = ()) -> EmbeddedNats:
    return EmbeddedNats(store_dir, port, rights=RIGHTS, logins=logins)


@asynccontextmanager
async def connected(
    server: EmbeddedNats, user: str | None = None, password: str | None = None
) -> AsyncIterator[tuple[Client, asyncio.Queue[Exception]]]:
    """A connected client, and a queue of the errors that it gets."""
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    async with asyncio.timeout(WAIT_S):
        client = await nats.connect(
            server.url if user else server.bot_url,
            user=user,
            password=password,
            error_cb=errors.put,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
        )
    try:
        yield client, errors
    finally:
        await client.close()


@asynccontextmanager
async def engine(server: EmbeddedNats) -> AsyncIterator[Client]:
    async with connected(server, server.engine_user, server.engine_password) as (client, _):
        yield client


def running(server: EmbeddedNats) -> int:
    assert server.pid is not None
    return server.pid
