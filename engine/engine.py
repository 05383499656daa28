"""Store, providers and supervisor, put together, started and ended in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from engine.actors.personas import Personas
from engine.actors.surroundings import Surroundings, now_ms
from engine.outlet import Outlet
from engine.settings import Settings
from engine.supervisor import Supervisor
from providers.base import LLMProvider
from providers.chain import ProviderChain
from storage import mailboxes
from storage.database import Database
from storage.errors import StorageUnavailable

log = logging.getLogger("rosey_llm.engine")
PRUNE_INTERVAL_S = 60.0
DAY_MS = 24 * 60 * 60 * 1000


class Engine:
    """Everything but the way in and out. `database` None keeps all in memory."""

    def __init__(
        self,
        providers: Sequence[LLMProvider],
        settings: Settings,
        database: Path | None,
        outlet: Outlet,
    ) -> None:
        self._settings = settings
        self.database = Database(database, settings.storage.durability)
        self.chain = ProviderChain(providers)
        self.personas = Personas(settings.personas, settings.service.default_persona)
        around = Surroundings(
            self.database,
            self.chain,
            self.personas,
            outlet,
            settings.service,
            settings.conversation,
        )
        self.supervisor = Supervisor(around, settings.channels)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the store and the providers. Raises CannotOpen where the store cannot be used."""
        await self.database.open()
        await self.chain.start()

    async def resume(self) -> None:
        """Go on with what an earlier run left, and begin the background work."""
        await self.supervisor.recover()
        self._tasks = [
            asyncio.create_task(self.supervisor.run(), name="supervisor"),
            asyncio.create_task(self._prune(), name="prune"),
        ]

    async def drain(self) -> None:
        """Let running turns finish; what waits stays in the store."""
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                log.error("A background task had ended: %r", result)
        await self.supervisor.drain(self._settings.service.drain_timeout_s)

    async def aclose(self) -> None:
        """After `drain`: free connections, child processes and the file."""
        await self.chain.aclose()
        await self.database.close()

    async def _prune(self) -> None:
        """Forget outcomes once the window in which a request may be sent again has passed."""
        keep_ms = self._settings.storage.dedupe_days * DAY_MS
        while True:
            try:
                prune = partial(mailboxes.prune, before_ms=now_ms() - keep_ms)
                pruned = await self.database.write(prune)
            except StorageUnavailable:
                pruned = 0
            await asyncio.sleep(0.1 if pruned else PRUNE_INTERVAL_S)
