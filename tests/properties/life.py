"""One run of an engine in the property test: from its start to a kill or a drain."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import engine.engine
from engine.actors.local_ledger import LocalLedger
from engine.config.loading import parse
from engine.engine import Engine
from providers import ScriptedProvider
from providers.base import Message, Options
from providers.chain.chain import ProviderChain
from providers.chain.circuit_breaker import CircuitBreaker
from providers.chain.retry import Retry
from providers.scripted import Action
from storage.errors import StorageUnavailable
from storage.writer.database import Database
from tests.properties.asked import ScriptedModel
from tests.properties.bus import CheckingSink
from tests.properties.clock import Clock, VirtualLoop
from tests.properties.disk import Disk
from tests.properties.model import MAILBOX_LIMIT, MODELS, SHARE, WINDOW, ReferenceModel
from tests.properties.witness import DatabaseReader

PROVIDER = {"timeout": 30.0, "max_retries": 0}
SETTINGS = {
    "service": {"max_context_messages": WINDOW, "drain_timeout_s": 5.0},
    "conversation": {"turn_timeout_s": 45.0},
    "channels": {
        "mailbox_limit": MAILBOX_LIMIT,
        "mailbox_limit_per_user": SHARE,
        "resident_limit": 1,
        "passivate_after_s": 40.0,
        "snapshot_interval_s": 15.0,
    },
    "permissions": {"stop_all": "*", "model": "*"},
    "models": {"allow": MODELS},
    # Never spent: what is charged and reserved is looked at.
    "budgets": {
        "user_tokens_per_day": 10**9,
        "channel_tokens_per_month": 10**9,
        "total_tokens_per_day": 10**9,
    },
    "storage": {"durability": "normal", "search_index": False},
}
KILL_ROUNDS = 200


class WatchedProvider(ScriptedProvider):
    """A provider that must not be called after it was closed.

    used: whether it was started and not closed yet.
    """

    def __init__(
        self, config: Mapping[str, Any], *, script: ScriptedModel, model: ReferenceModel
    ) -> None:
        super().__init__(config, script=script)
        self._model = model
        self._closed = self.used = False

    async def start(self) -> None:
        self.used = True

    async def aclose(self) -> None:
        self._closed, self.used = True, False

    def _record(self, action: Action, messages: Sequence[Message], options: Options) -> None:
        if self._closed:
            self._model.violate("a provider is called that was closed", messages[-1].content)
        super()._record(action, messages, options)


class EngineRun:
    """A real engine on a virtual clock. Nothing happens in it unless a method is called."""

    def __init__(
        self, path: Path, clock: Clock, model: ReferenceModel, database_reader: DatabaseReader
    ) -> None:
        self.model = model
        self._database_reader = database_reader
        self.disk = Disk()
        self.scripted_model = ScriptedModel(model)
        self._sink = CheckingSink(model, database_reader)
        self.loop = VirtualLoop(clock, self._work)
        self.loop.set_exception_handler(self._unhandled)
        self._dead = self._opened = False
        self.had_full_disk = False
        self.providers: list[WatchedProvider] = []
        provider = self._new_provider(0)
        with mock.patch.object(engine.engine, "ProviderChain", partial(_new_chain, clock)):
            settings = parse(SETTINGS, path.parent)
            database = Database(path, settings.storage.durability)
            self.engine = Engine(database, LocalLedger(database), [provider], settings, self._sink)
        self._settings = settings
        self.engine.database._jobs = self.disk  # type: ignore[assignment]
        self._sink.database = self.engine.database
        self.loop.run_until_complete(self.engine.start())
        self.spawn(self.engine.resume())

    # Steps.

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[Any]:
        return self.loop.create_task(work)

    def passivate(self) -> None:
        self.spawn(_housekeeping(self.engine.supervisor.residents.passivate_idle))

    def snapshot(self) -> None:
        self.spawn(_housekeeping(self.engine.supervisor.residents.snapshot_changed))

    def reload(self, seed: int) -> None:
        """Apply another provider and other limits than those that the model knows."""
        channels = replace(
            self._settings.channels, resident_limit=1 + seed, snapshot_interval_s=15.0 - seed
        )
        settings = replace(self._settings, channels=channels)
        self.call(lambda: self.engine.apply(settings, [self._new_provider(seed)]))

    @property
    def unclosed_providers(self) -> list[WatchedProvider]:
        """Providers that are not called any more, but are still open."""
        live = self.engine.providers
        return [each for each in self.providers if each.used and each not in live]

    def _new_provider(self, seed: int) -> WatchedProvider:
        provider = WatchedProvider(
            PROVIDER | {"total_timeout": 600.0 + seed}, script=self.scripted_model, model=self.model
        )
        self.providers.append(provider)
        return provider

    def call(self, act: Callable[[], None]) -> None:
        """Call `act` within the loop, as for a message that arrives; then run one round."""
        failed: list[Exception] = []

        def within() -> None:
            try:
                act()
            except Exception as exc:  # noqa: BLE001 - raised again outside of the loop
                failed.append(exc)

        self.loop.call_soon(within)
        self.run_round()
        if failed:
            raise failed[0]

    def run_round(self) -> None:
        self.loop.run_round()
        self.model.check()

    def commit(self, jobs: int, *, full: bool = False) -> bool:
        self.had_full_disk |= full
        done = self.disk.commit(jobs, full=full)
        self.model.check_commit(self._database_reader.read())
        self.model.check()
        return done

    def run_until_idle(
        self, seconds: float = 0.0, until: Callable[[], bool] = lambda: False
    ) -> None:
        self.loop.run_until_idle(seconds, until)
        self.model.check()

    # The end.

    def drain(self) -> None:
        """End the engine as SIGTERM does."""
        ending = self.spawn(self._drain())
        self.loop.run_until_idle(600.0, ending.done)
        self.model.check_commit(self._database_reader.read())
        if not ending.done():
            self.model.violate("the engine does not drain", "")
        elif exc := ending.exception():
            raise exc
        self.kill()

    async def _drain(self) -> None:
        await self.engine.drain()
        await self.engine.aclose()

    def kill(self) -> None:
        """End the engine as SIGKILL does: what is not on disk is lost."""
        if self.loop.is_closed():
            return
        self._dead = self.scripted_model.ended = True
        self._sink.database = None
        self.disk.kill()
        if thread := self.engine.database._thread:
            thread.join(20)
        for _ in range(KILL_ROUNDS):
            if not self.loop.tasks:
                break
            for task in list(self.loop.tasks):
                task.cancel()
            self.loop.run_round()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    # Called by the loop.

    def _work(self) -> bool:
        """Let the disk do all that it has to do, since nothing else is ready."""
        if not self._opened:
            self._opened = self.disk.wait_until_open()
            return True
        if self._dead or not self.disk.waiting:
            return False
        self.commit(self.disk.waiting)
        return True

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self._dead:
            self.model.violate("an exception was not handled", context.get("message"), context)


async def _housekeeping(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with contextlib.suppress(StorageUnavailable):  # as the supervisor's own loop does
        await work()


def _new_chain(clock: Clock, providers: list[Any], **settings: Any) -> ProviderChain:
    return ProviderChain(
        providers,
        **settings,
        circuit=partial(CircuitBreaker, clock=clock.monotonic),
        retry=Retry(clock=clock.monotonic, chance=lambda: 0.5),
    )
