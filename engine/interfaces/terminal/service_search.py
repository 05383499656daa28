"""Finds the running service for a chat, or starts one for as long as the chat lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from engine.app import App, build_app, url_file
from engine.config.settings import Settings
from engine.errors import AlreadyRunning, CannotStart
from engine.traffic.chat_client import ChatClient

FIND_LIMIT_S = 30.0
FIND_PAUSE_S = 0.2
TRY_S = 2.0


class ServiceSearch:
    """A way to a client of the service, which is drained at the end if it was started for it.

    - `config`: the file that a service which is started here reloads
    """

    def __init__(
        self, settings: Settings, channel: str, user: str, config: Path | None = None
    ) -> None:
        self._settings = settings
        self._channel = channel
        self._user = user
        self._config = config

    @asynccontextmanager
    async def client(self) -> AsyncIterator[ChatClient]:
        """Yield a client of the running service; start a service if none is running."""
        async with AsyncExitStack() as stack:
            if self._settings.nats.url != "embedded":
                client = await self._connect(stack, self._settings.nats.url)
                if not await client.service_answers():
                    await self._start(stack)
            else:
                client = await self._find_or_start(stack)
            yield client

    async def _find_or_start(self, stack: AsyncExitStack) -> ChatClient:
        """Start a service, or find one that another process is just starting or stopping.

        Raises CannotStart if neither succeeds within `FIND_LIMIT_S`.
        """
        clock = asyncio.get_running_loop().time
        deadline_s = clock() + FIND_LIMIT_S
        while True:
            try:
                app = await self._start(stack)
                return await self._connect(stack, app.url)
            except AlreadyRunning as exc:
                running = exc
            if client := await self._find(stack):
                return client
            if clock() > deadline_s:
                raise CannotStart(
                    f"A service is running, but does not answer. {running}"
                ) from running
            await asyncio.sleep(FIND_PAUSE_S)

    async def _find(self, stack: AsyncExitStack) -> ChatClient | None:
        """Return a client of the running service, or None if it cannot be reached."""
        try:
            url = url_file(self._settings).read_text().strip()
            client = await ChatClient.connect(
                self._settings.nats, url, self._channel, self._user, TRY_S
            )
        except (OSError, ValueError):  # no file, half a URL, no server
            return None
        if await client.service_answers():
            stack.push_async_callback(client.close)
            return client
        await client.close()
        return None

    async def _start(self, stack: AsyncExitStack) -> App:
        app = build_app(self._settings, self._config)
        await app.start()
        stack.push_async_callback(app.drain)
        if problem := app.unheard:
            raise CannotStart(problem)
        return app

    async def _connect(self, stack: AsyncExitStack, url: str) -> ChatClient:
        try:
            client = await ChatClient.connect(self._settings.nats, url, self._channel, self._user)
        except ConnectionError as exc:
            raise CannotStart(str(exc)) from exc
        stack.push_async_callback(client.close)
        return client
