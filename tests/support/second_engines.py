"""An engine that starts where another one may listen already, and what it is refused with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from engine.app import App, build_app
from engine.errors import CannotStart
from tests.support.nats_logins import INPUTS, OUTPUTS
from tests.support.nats_servers import Server
from tests.support.patience import WAIT_S
from tests.support.service_harness import House

# A login that may use the probe, and nothing of the micro service.
PROBES: dict[str, Any] = {"says": [*OUTPUTS, *INPUTS], "services": ["_INBOX.engine.>"]}


@asynccontextmanager
async def started(
    house: House, server: Server, *, second: bool = False, **nats_settings: Any
) -> AsyncIterator[App]:
    house.config["nats"] = {"url": server.url} | nats_settings
    house.app = build_app(house.settings, second=second)
    try:
        async with asyncio.timeout(WAIT_S):
            await house.app.start()
        yield house.app
    finally:
        await house.close()


async def refusal(house: House, server: Server, **nats_settings: Any) -> CannotStart:
    """Return why the engine does not start."""
    try:
        async with started(house, server, **nats_settings):
            raise AssertionError("it has started")
    except CannotStart as exc:
        return exc


async def opened(house: House, server: Server) -> None:
    house.config["nats"] = {"url": server.url}
    house.app = build_app(house.settings)
    await house.app.start()


def info(subject: str) -> bytes:
    """Return the answer of an engine that hears the subject."""
    return orjson.dumps({"id": "other", "endpoints": [{"subject": subject}]})
