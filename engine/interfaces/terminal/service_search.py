"""Finds the running service for a chat, or starts one for as long as the chat lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from engine.app import build_app
from engine.client.address import read_address
from engine.client.client import Client
from engine.config.settings import NatsSettings, Settings
from engine.errors import AlreadyRunning, CannotStart
from engine.interfaces.terminal.service_client import service_client

FIND_LIMIT_S = 30.0
FIND_PAUSE_S = 0.2
TRY_S = 2.0


class ServiceSearch:
    """A way to a client of the service, which is drained at the end if it was started for it.

    - `config`: the file that a service which is started here reloads
    """

    def __init__(self, settings: Settings, config: Path | None = None) -> None:
        self._settings = settings
        # The login of [nats] is for another server; that of the embedded one is in its address.
        nats = settings.nats
        self._login = NatsSettings(subjects=nats.subjects) if nats.url == "embedded" else nats
        self._config = config

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Yield a client of the running service; start a service if none is running."""
        async with AsyncExitStack() as stack:
            if self._settings.nats.url != "embedded":
                client = await self._connect(stack, self._settings.nats.url)
                if not await client.is_served():
                    await self._start(stack)
            else:
                client = await self._find_or_start(stack)
            yield client

    async def _find_or_start(self, stack: AsyncExitStack) -> Client:
        """Start a service, or find one that another process is just starting or stopping.

        Raises CannotStart if neither succeeds within `FIND_LIMIT_S`.
        """
        clock = asyncio.get_running_loop().time
        deadline_s = clock() + FIND_LIMIT_S
        while True:
            try:
                await self._start(stack)
                return await self._connect(stack, self._written_url())
            except AlreadyRunning as exc:
                running = exc
            if client := await self._find(stack):
                return client
            if clock() > deadline_s:
                raise CannotStart(
                    f"A service is running, but does not answer. {running}"
                ) from running
            await asyncio.sleep(FIND_PAUSE_S)

    async def _find(self, stack: AsyncExitStack) -> Client | None:
        """Return a client of the running service, or None if it cannot be reached."""
        async with AsyncExitStack() as found:
            try:
                url = self._written_url()
                async with asyncio.timeout(TRY_S):
                    client = await found.enter_async_context(service_client(self._login, url))
            except (OSError, ValueError):  # no file, half a URL, no server
                return None
            if not await client.is_served():
                return None
            stack.push_async_exit(found.pop_all())
            return client

    def _written_url(self) -> str:
        """Return the address of the embedded server, with a bot's login. Raises CannotConnect."""
        return read_address(Path(self._settings.nats.store_dir) / "url")

    async def _start(self, stack: AsyncExitStack) -> None:
        # No bot looks for a service that ends with this chat, so any port will do.
        app = build_app(self._settings, self._config, beside_nats=True)
        await app.start()
        stack.push_async_callback(app.drain)
        if problem := app.unheard:
            raise CannotStart(problem)

    async def _connect(self, stack: AsyncExitStack, url: str) -> Client:
        try:
            return await stack.enter_async_context(service_client(self._login, url))
        except ConnectionError as exc:
            raise CannotStart(str(exc)) from exc
