"""Store, providers and supervisor, put together, started and ended in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from engine.actors.context import ActorContext
from engine.actors.supervisor import Supervisor
from engine.answering.turn_settings import TurnSettings
from engine.clock import now_ms
from engine.commands.observer import TurnObserver
from engine.commands.outcomes import OutcomeSink
from engine.config.personas import Personas
from engine.config.settings import Settings
from engine.operations import erasure
from engine.operations.admin_requests import AdminRequests, Handler
from engine.operations.background_tasks import BackgroundTasks
from engine.operations.erasure import Eraser
from engine.operations.retention import Retention
from engine.operations.search_indexer import SearchIndexer
from providers.base import LLMProvider
from providers.chain.chain import ProviderChain
from storage import mailboxes, persona_versions
from storage.errors import StorageUnavailable
from storage.writer.database import Database

log = logging.getLogger("rosey_llm.engine")
PRUNE_INTERVAL_S = 60.0
DAY_MS = 24 * 60 * 60 * 1000


class Engine:
    """Everything but the way in and out. `database` None keeps all in memory.

    orders: what it is to carry out for other processes beside erasing, by the orders' kinds.
    """

    def __init__(
        self,
        providers: Sequence[LLMProvider],
        settings: Settings,
        database: Path | None,
        sink: OutcomeSink,
        observer: TurnObserver | None = None,
        orders: Mapping[str, Handler] | None = None,
    ) -> None:
        self._settings = settings
        self._observer = observer = observer or TurnObserver()
        self.database = Database(
            database, settings.storage.durability, on_commit=observer.committed
        )
        turn_settings = _turn_settings(ProviderChain(providers), settings)
        self._context = ActorContext(self.database, sink, observer, turn_settings)
        self.supervisor = Supervisor(self._context, settings.channels)
        self._background = BackgroundTasks()
        self._following_up: asyncio.Task[None] | None = None
        self.eraser = Eraser(self.database, self.supervisor)
        self._retention = Retention(self.eraser, lambda: self._settings.storage)
        handlers = {**(orders or {}), erasure.REQUEST_KIND: self.eraser.carry_out}
        self._admin_requests = (
            AdminRequests(self.database, handlers) if database is not None else None
        )
        self._search_indexer: SearchIndexer | None = None
        if database is not None and settings.storage.search_index:
            self._search_indexer = SearchIndexer(database)

    @property
    def chain(self) -> ProviderChain:
        """The providers that the next turn asks."""
        return self._context.turn_settings.chain

    @property
    def personas(self) -> Personas:
        return self._context.turn_settings.personas

    def apply(self, settings: Settings, providers: Sequence[LLMProvider]) -> None:
        """From the next turn on, these hold; turns that have begun end as they began.

        A provider that is as it was goes on; `chain.providers` then has the one before.
        """
        before = self.chain
        self._context.turn_settings = _turn_settings(before.successor(providers), settings)
        self._settings = settings
        before.retire()
        self.supervisor.set_limits(settings.channels)
        if self._following_up is not None:
            self._following_up.cancel()  # nobody needs a model any more that is still being loaded
        follow_up = partial(self._follow_up, self.chain)
        self._following_up = self._background.keep("after a reload", follow_up)

    async def _follow_up(self, chain: ProviderChain) -> None:
        """What a reload need not wait for: a model may take its time to load."""
        chain.hold()
        try:
            await self._keep_personas()
            await chain.start()
        finally:
            chain.release()

    async def start(self) -> None:
        """Open the store and the providers. Raises CannotOpen where the store cannot be used."""
        await self.database.open()
        await self._keep_personas()
        await self.chain.start()

    async def resume(self) -> None:
        """Go on with what an earlier run left, and begin the background work."""
        if self._admin_requests is not None:
            # Before anything of what is to be erased is shown to a model.
            await self._admin_requests.catch_up(erasure.REQUEST_KIND)
            self._background.keep("orders", self._admin_requests.run)
        await self.supervisor.recover()
        self._background.keep("residents", self.supervisor.residents.run)
        self._background.keep("prune", self._prune)
        self._background.keep("retention", self._retention.run)
        if self._search_indexer is not None:
            self._search_indexer.start()

    async def drain(self) -> None:
        """Let running turns finish; what waits stays in the store."""
        await self._background.end()
        await self.supervisor.drain(self._settings.service.drain_timeout_s)

    async def aclose(self) -> None:
        """After `drain`: free connections, child processes and the file."""
        if self._search_indexer is not None:
            await self._search_indexer.aclose()
        await self.eraser.aclose()
        await self.chain.aclose()
        await self.database.close()
        await self._observer.aclose()

    async def _keep_personas(self) -> None:
        """Remember what each persona is told: history names these texts. After each change."""
        keep = partial(persona_versions.keep, personas=self.personas.prompts, now_ms=now_ms())
        try:
            await self.database.write(keep)
        except StorageUnavailable as exc:
            log.warning("The personas' texts could not be kept: %s", exc)

    async def _prune(self) -> None:
        """Forget outcomes once the window in which a request may be sent again has passed."""
        while True:
            keep_ms = self._settings.storage.dedupe_days * DAY_MS
            try:
                prune = partial(mailboxes.prune, before_ms=now_ms() - keep_ms)
                pruned = await self.database.write(prune)
            except StorageUnavailable:
                pruned = 0
            await asyncio.sleep(0.1 if pruned else PRUNE_INTERVAL_S)


def _turn_settings(chain: ProviderChain, settings: Settings) -> TurnSettings:
    personas = Personas(settings.personas, settings.service.default_persona)
    return TurnSettings(chain, personas, settings.service, settings.conversation)
