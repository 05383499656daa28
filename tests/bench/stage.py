"""The running processes that the engine's sections share: NATS, provider, engines, load, ..."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from engine.config.settings import SubjectSettings
from engine.traffic.embedded.server import EmbeddedNats
from tests.bench import engines, yardsticks
from tests.bench.children import Child, module, running
from tests.bench.engines import Contestant, Engine, Environment, Variant

SUBJECTS = SubjectSettings()
ANSWER_LIMIT_S = 60.0


@dataclass(frozen=True)
class Stage:
    """The running processes. engine: as users run it; plain: the same with the plain store."""

    environment: Environment
    nats_pid: int
    provider: Child
    engine: Engine
    plain: Engine
    yardsticks: Child
    direct: Child
    load: Child

    def bare(self, model: str) -> Contestant:
        return self._yardstick("bare loop", yardsticks.BARE, model)

    def one_at_a_time(self, model: str) -> Contestant:
        return self._yardstick("one at a time", yardsticks.ONE_AT_A_TIME, model)

    def bare_relay(self, model: str) -> Contestant:
        return self._yardstick("bare relay", yardsticks.RELAY, model)

    def another(self, variant: Variant) -> AbstractAsyncContextManager[Engine]:
        """Run one more engine until the block ends."""
        return engines.engine(self.environment, variant)

    async def ask(
        self, do: str, contestant: Contestant, *, limit_s: float = ANSWER_LIMIT_S, **more: Any
    ) -> dict[str, Any]:
        """Put a load on a contestant and return the figures. Raise ChildFailed."""
        question = {"do": do, "subject": contestant.subject, "body": contestant.body, **more}
        return await self.load.ask(question, limit_s)

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of all that run the whole time, by name."""
        return {
            "nats-server": self.nats_pid,
            "fake provider": self.provider.pid,
            "engine": self.engine.process.pid,
            "plain way": self.plain.process.pid,
            "yardsticks": self.yardsticks.pid,
            "load": self.load.pid,
        }

    def _yardstick(self, name: str, subject: str, model: str) -> Contestant:
        return Contestant(name, self.yardsticks, subject, engines.request(model))


@asynccontextmanager
async def stage(folder: Path, profile: Path | None = None) -> AsyncIterator[Stage]:
    """Start everything, and end it in order after the block. profile: where to write a profile."""
    nats = EmbeddedNats(
        folder / "nats",
        port=0,
        bot_publish=[SUBJECTS.chat, SUBJECTS.request, "bench.>"],
        bot_subscribe=[SUBJECTS.response, SUBJECTS.error, SUBJECTS.stream, "bench.>"],
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(nats)
        assert nats.pid is not None

        async def child(name: str, *arguments: str) -> Child:
            command = module(name.replace(" ", "_"), *arguments)
            return await stack.enter_async_context(running(name, command))

        provider = await child("fake provider")
        provider_url = orjson.loads(provider.ready)["url"]
        environment = Environment(folder, nats.url, nats.engine_password, provider_url)
        real = Variant("engine", SUBJECTS, profile=profile)
        subscribed = (SUBJECTS.response, SUBJECTS.error, SUBJECTS.stream, "bench.out.>")
        yield Stage(
            environment=environment,
            nats_pid=nats.pid,
            provider=provider,
            engine=await stack.enter_async_context(engines.engine(environment, real)),
            plain=await stack.enter_async_context(
                engines.engine(environment, Variant("plain way", plain=True))
            ),
            yardsticks=await child("yardsticks", nats.url, provider_url),
            direct=await child("direct", provider_url),
            load=await child("load", nats.url, *subscribed),
        )
