"""The engine: builds store, providers, supervisor and background tasks, starts and ends them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from functools import partial

from engine.accounting import price_list, scopes
from engine.accounting.accounts import Accounts
from engine.accounting.budgets import Budgets
from engine.actors.context import ActorContext
from engine.actors.supervisor import Supervisor
from engine.actors.wait_estimate import WaitEstimate
from engine.admission.gate import Gate
from engine.answering.token_rates import RatesByModel
from engine.answering.turn_settings import (
    RuleProviders,
    SettingsByChannel,
    TurnSettings,
    new_rule_chains,
    new_rule_providers,
)
from engine.clock import now_ms
from engine.commands.ledger import Ledger
from engine.commands.observer import TurnObserver
from engine.commands.outcomes import OutcomeSink
from engine.config.personas import Personas
from engine.config.settings import Settings
from engine.operations import erasure, retention
from engine.operations.admin_requests import AdminRequests, Handler
from engine.operations.background_tasks import BackgroundTasks
from engine.operations.backups import Backups
from engine.operations.erasure import Eraser
from engine.operations.outbox_pruner import OutboxPruner
from engine.operations.retention import Retention
from engine.operations.search_indexer import SearchIndexer
from engine.safety.room_safety import RoomSafeties
from engine.texts.texts import Texts
from providers.base import LLMProvider
from providers.chain.chain import ProviderChain
from providers.chain.link import LinkStatistics
from storage import persona_versions, statistics, usage
from storage.errors import StorageUnavailable
from storage.writer.database import Database

log = logging.getLogger("rosey_llm.engine")
USERS_LOADED = 100_000


class Engine:
    """The engine without its transport: actors, providers, store and background tasks.

    ledger: over the same database.
    sink: where outcomes go.
    handlers: for admin requests of other processes, by kind; erasing is always included.
    waits: what refused senders are told.
    texts: what is said in each room; of the settings from now on.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        providers: Sequence[LLMProvider],
        settings: Settings,
        sink: OutcomeSink,
        observer: TurnObserver | None = None,
        handlers: Mapping[str, Handler] | None = None,
        waits: WaitEstimate | None = None,
        texts: Texts | None = None,
    ) -> None:
        self._settings = settings
        self._observer = observer = observer or TurnObserver()
        self.database = database
        rule_providers = new_rule_providers(settings, providers)
        chain = ProviderChain(providers, fallback_on=settings.fallback_on)
        self._safeties = RoomSafeties()
        turn_settings = _by_channel(chain, rule_providers, settings, RatesByModel(), self._safeties)
        self.texts = texts or Texts()
        self.texts.apply(settings.texts, settings.language_of)
        self.budgets = Budgets(database, settings)
        self._context = ActorContext(
            database,
            ledger,
            sink,
            observer,
            turn_settings,
            self.budgets,
            self.texts,
            waits=waits or WaitEstimate(),
        )
        self._gate = Gate(settings, observer)
        self.supervisor = Supervisor(self._context, settings.channels, self._gate)
        self._background = BackgroundTasks()
        self._following_up: asyncio.Task[None] | None = None
        self.eraser = Eraser(database, self.supervisor, self.texts)
        self.retention = Retention(database, self.eraser, lambda: self._settings.storage)
        self._pruner = OutboxPruner(database, lambda: self._settings.storage)
        handlers = {
            **(handlers or {}),
            erasure.REQUEST_KIND: self.eraser.carry_out,
            retention.REQUEST_KIND: self.retention.confirm,
        }
        self.backups: Backups | None = None
        self._admin_requests: AdminRequests | None = None
        self._search_indexer: SearchIndexer | None = None
        if database.path is not None:  # other processes can see it
            self._admin_requests = AdminRequests(database, handlers)
            self.backups = Backups(database.path, lambda: self._settings.storage)
            if settings.storage.search_index:
                self._search_indexer = SearchIndexer(database.path)

    @property
    def turn_settings(self) -> TurnSettings:
        """What the next turn uses in a channel without a rule."""
        return self._context.turn_settings.usual

    @property
    def chain(self) -> ProviderChain:
        """The providers for the next turn in a channel without a rule."""
        return self.turn_settings.chain

    @property
    def providers(self) -> list[LLMProvider]:
        """The providers of all channels; those of channels without a rule come first."""
        chains = self._context.turn_settings.chains
        return list(dict.fromkeys(each for chain in chains for each in chain.providers))

    def provider_statistics(self) -> dict[str, LinkStatistics]:
        """Return the state of each of `providers` by its name."""
        found: dict[str, LinkStatistics] = {}
        for chain in self._context.turn_settings.chains:
            found |= chain.statistics()
        return found

    @property
    def personas(self) -> Personas:
        return self.turn_settings.personas

    def apply(self, settings: Settings, providers: Sequence[LLMProvider]) -> None:
        """Use these from the next turn on; running turns keep the old ones.

        An unchanged provider is kept: `providers` then contains the old object.
        """
        before = self._context.turn_settings
        rule_providers = new_rule_providers(settings, providers)
        chain = self.chain.successor(providers, fallback_on=settings.fallback_on)
        self._context.turn_settings = _by_channel(
            chain, rule_providers, settings, before.usual.rates, self._safeties
        )
        self.texts.apply(settings.texts, settings.language_of)
        self._settings = settings
        for old in before.chains:
            old.retire()
        self._gate.apply(settings)
        self.budgets.apply(settings)
        self.supervisor.set_limits(settings.channels)
        if self._following_up is not None:
            self._following_up.cancel()  # it may still be loading a model that is no longer needed
        follow_up = partial(self._follow_up, self._context.turn_settings.configured_chains)
        self._following_up = self._background.keep("after a reload", follow_up)

    async def _follow_up(self, chains: Sequence[ProviderChain]) -> None:
        """Do what a reload does not wait for, such as loading a model."""
        for chain in chains:
            chain.hold()
        try:
            await self._store_personas()
            await self._load_usage()
            await _start(chains)
        finally:
            for chain in chains:
                chain.release()

    async def _load_usage(self) -> None:
        """Let limits by day and budgets go on with what was used before this process."""
        with contextlib.suppress(StorageUnavailable):  # each turn reads what it needs
            await self.budgets.load_named()
        today = self._gate.today
        if today is not None:
            read = partial(
                usage.by_scope,
                kind=scopes.USER,
                first_day=today,
                last_day=today,
                limit=USERS_LOADED,
            )
            self._gate.load(await self.database.write(read))

    async def start(self) -> None:
        """Open the store and start the providers.

        Raises CannotOpen if the store cannot be used, and CannotStart without the price list that
        the settings ask for.
        """
        if self._settings.accounting.price_list:
            await asyncio.to_thread(price_list.prepare, self._settings)
        await self.database.open()
        with contextlib.suppress(StorageUnavailable):  # the log says so, before "is ready"
            await self.database.write(statistics.touch)
        await self._store_personas()
        await self._load_usage()
        await _start(self._context.turn_settings.configured_chains)

    async def resume(self) -> None:
        """Recover the commands of the previous run, and start the background tasks."""
        if self._admin_requests is not None:
            # First, so that no model sees text that is to be erased.
            await self._admin_requests.catch_up(erasure.REQUEST_KIND)
            self._background.keep("admin requests", self._admin_requests.run)
        await self.supervisor.recover()
        self._background.keep("residents", self.supervisor.residents.run)
        # Before retention, which notes the wall clock's time in the database.
        self._background.keep("prune", self._pruner.run)
        self._background.keep("retention", self.retention.run)
        if self.backups is not None:
            self._background.keep("backups", self.backups.run)
        if self._search_indexer is not None:
            self._search_indexer.start()

    async def drain(self) -> None:
        """Let running turns finish; waiting commands stay in the store."""
        self.database.tell_end()
        await self._background.end()
        await self.supervisor.drain(self._settings.service.drain_timeout_s)

    async def aclose(self) -> None:
        """Free connections, child processes and the file. Call `drain` first."""
        if self._search_indexer is not None:
            await self._search_indexer.aclose()
        await self.eraser.aclose()
        await self.chain.aclose()
        await self._safeties.aclose()
        await self.database.close()
        await self._observer.aclose()

    async def _store_personas(self) -> None:
        """Store the personas' prompts and the hints: the history refers to them by their digest."""
        rules = self._settings.channels.rules
        hints = [(f"hint of {rule.match}", rule.hint) for rule in rules if rule.hint is not None]
        texts = [*self.personas.prompts, *hints]
        keep = partial(persona_versions.keep, personas=texts, now_ms=now_ms())
        try:
            await self.database.write(keep)
        except StorageUnavailable as exc:
            log.warning(
                "The personas' prompts could not be stored: %(error)s",
                {"event": "storage.personas_failed", "error": exc},
            )


async def _start(chains: Sequence[ProviderChain]) -> None:
    """Start the first provider of each chain."""
    by_provider = {chain.primary.name: chain for chain in reversed(chains)}
    async with asyncio.TaskGroup() as group:
        for chain in by_provider.values():
            group.create_task(chain.start())


def _by_channel(
    chain: ProviderChain,
    providers: RuleProviders,
    settings: Settings,
    rates: RatesByModel,
    safeties: RoomSafeties,
) -> SettingsByChannel:
    safeties.apply(settings)
    personas = Personas(settings.personas, settings.service.default_persona)
    every = [*chain.providers, *(each for group in providers.values() for each in group)]
    accounts = Accounts(settings, every)
    usual = TurnSettings(chain, personas, settings.service, settings.conversation, accounts, rates)
    return SettingsByChannel(usual, settings, new_rule_chains(chain, providers), safeties)
