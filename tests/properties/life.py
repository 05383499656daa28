"""One life of an engine: from a start to a kill or a drain."""

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
from engine.config.loading import parse
from engine.engine import Engine
from providers import ScriptedProvider
from providers.base import Message, Options
from providers.chain.chain import ProviderChain
from providers.chain.circuit_breaker import CircuitBreaker
from providers.chain.retry import Retry
from providers.scripted import Action
from storage.errors import StorageUnavailable
from tests.properties.asked import Asked
from tests.properties.bus import Bus
from tests.properties.clock import Clock, VirtualLoop
from tests.properties.disk import Disk
from tests.properties.model import MAILBOX_LIMIT, WINDOW, Model
from tests.properties.witness import Witness

PROVIDER = {"timeout": 30.0, "max_retries": 0}
SETTINGS = {
    "service": {"max_context_messages": WINDOW, "drain_timeout_s": 5.0},
    "conversation": {"turn_timeout_s": 45.0},
    "channels": {
        "mailbox_limit": MAILBOX_LIMIT,
        "resident_limit": 1,
        "passivate_after_s": 40.0,
        "snapshot_interval_s": 15.0,
    },
    "storage": {"durability": "normal", "search_index": False},
}
ROUNDS_TO_DIE = 200


class Watched(ScriptedProvider):
    """May not be called once it is closed. `used` between its start and its end."""

    def __init__(self, config: Mapping[str, Any], *, script: Asked, model: Model) -> None:
        super().__init__(config, script=script)
        self._model = model
        self._closed = self.used = False

    async def start(self) -> None:
        self.used = True

    async def aclose(self) -> None:
        self._closed, self.used = True, False

    def _note(self, action: Action, messages: Sequence[Message], options: Options) -> None:
        if self._closed:
            self._model.violate("a provider is called that was closed", messages[-1].content)
        super()._note(action, messages, options)


class Life:
    """A real engine on a virtual clock. Nothing happens in it but when a method is called."""

    def __init__(self, path: Path, clock: Clock, model: Model, witness: Witness) -> None:
        self.model = model
        self._witness = witness
        self.disk = Disk()
        self.asked = Asked(model)
        self._bus = Bus(model, witness)
        self.loop = VirtualLoop(clock, self._work)
        self.loop.set_exception_handler(self._unhandled)
        self._dead = self._opened = False
        self.was_full = False
        self.providers: list[Watched] = []
        provider = self._new_provider(0)
        with mock.patch.object(engine.engine, "ProviderChain", partial(_chain, clock)):
            settings = parse(SETTINGS, path.parent)
            self.engine = Engine([provider], settings, path, self._bus)
        self._settings = settings
        self.engine.database._jobs = self.disk  # type: ignore[assignment]
        self._bus.database = self.engine.database
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
        """Another provider, and other limits than those that the model knows of."""
        channels = replace(
            self._settings.channels, resident_limit=1 + seed, snapshot_interval_s=15.0 - seed
        )
        settings = replace(self._settings, channels=channels)
        self.call(lambda: self.engine.apply(settings, [self._new_provider(seed)]))

    @property
    def left_open(self) -> list[Watched]:
        """Providers that nobody will call any more, and that are open nevertheless."""
        live = self.engine.chain.providers
        return [each for each in self.providers if each.used and each not in live]

    def _new_provider(self, seed: int) -> Watched:
        provider = Watched(
            PROVIDER | {"total_timeout": 600.0 + seed}, script=self.asked, model=self.model
        )
        self.providers.append(provider)
        return provider

    def call(self, act: Callable[[], None]) -> None:
        """Call within the loop, as a message that arrives does; then one round."""
        failed: list[Exception] = []

        def within() -> None:
            try:
                act()
            except Exception as exc:  # noqa: BLE001 - raised again outside of the loop
                failed.append(exc)

        self.loop.call_soon(within)
        self.turn()
        if failed:
            raise failed[0]

    def turn(self) -> None:
        self.loop.turn()
        self.model.check()

    def commit(self, jobs: int, *, full: bool = False) -> bool:
        self.was_full |= full
        done = self.disk.commit(jobs, full=full)
        self.model.committed(self._witness.look())
        self.model.check()
        return done

    def rest(self, seconds: float = 0.0, until: Callable[[], bool] = lambda: False) -> None:
        self.loop.rest(seconds, until)
        self.model.check()

    # Ends.

    def drain(self) -> None:
        """As on SIGTERM."""
        ending = self.spawn(self._drain())
        self.loop.rest(600.0, ending.done)
        self.model.committed(self._witness.look())
        if not ending.done():
            self.model.violate("the engine does not drain", "")
        elif exc := ending.exception():
            raise exc
        self.kill()

    async def _drain(self) -> None:
        await self.engine.drain()
        await self.engine.aclose()

    def kill(self) -> None:
        """As by SIGKILL: what is not on disk is lost, and nobody hears another word."""
        if self.loop.is_closed():
            return
        self._dead = self.asked.over = True
        self._bus.database = None
        self.disk.lose()
        if thread := self.engine.database._thread:
            thread.join(20)
        for _ in range(ROUNDS_TO_DIE):
            if not self.loop.tasks:
                break
            for task in list(self.loop.tasks):
                task.cancel()
            self.loop.turn()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    # What the loop asks for.

    def _work(self) -> bool:
        """Nothing is ready: the disk may do all that it has to do."""
        if not self._opened:
            self._opened = self.disk.opened()
            return True
        if self._dead or not self.disk.held:
            return False
        self.commit(self.disk.held)
        return True

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self._dead:
            self.model.violate("an exception was left alone", context.get("message"), context)


async def _housekeeping(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with contextlib.suppress(StorageUnavailable):  # as the supervisor's own loop does
        await work()


def _chain(clock: Clock, providers: list[Any]) -> ProviderChain:
    return ProviderChain(
        providers,
        circuit=partial(CircuitBreaker, clock=clock.monotonic),
        retry=Retry(clock=clock.monotonic, chance=lambda: 0.5),
    )
