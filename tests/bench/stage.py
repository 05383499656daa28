"""The running processes that the engine's sections share: NATS, provider, engines, load, ..."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import engines, slices, yardsticks
from tests.bench.asker import Asker, LoadFailed, Question
from tests.bench.children import Child, ChildFailed, module, running
from tests.bench.engines import FAST_MODEL, Contestant, Engine, Environment, Variant

ANSWER_LIMIT_S = 60.0
VISIT_LIMIT_S = 300.0


@dataclass(frozen=True)
class Stage:
    """The running processes. engine: as users run it; plain: the same with the plain store."""

    environment: Environment
    engine: Engine
    plain: Engine
    yardsticks: Child
    direct: Child
    load: Child

    def bare(self, model: str) -> Contestant:
        return self._yardstick(yardsticks.BARE, model)

    def one_at_a_time(self, model: str) -> Contestant:
        return self._yardstick(yardsticks.ONE_AT_A_TIME, model)

    def bare_relay(self, model: str) -> Contestant:
        return self._yardstick(yardsticks.RELAY, model)

    def another(self, variant: Variant) -> AbstractAsyncContextManager[Engine]:
        """Run one more engine until the block ends."""
        return engines.engine(self.environment, variant)

    async def ask(
        self, do: str, contestant: Contestant, *, limit_s: float = ANSWER_LIMIT_S, **more: Any
    ) -> dict[str, Any]:
        """Put a load on a contestant and return the figures. Raise ChildFailed."""
        return await self.load.ask({**contestant.question(do), **more}, limit_s)

    async def closed_loop(
        self, contestant: Contestant, channels: int, in_flight: int, seconds: float
    ) -> dict[str, Any]:
        """Measure a slice, with the processor time of all that run the whole time."""
        nats_pid = self.environment.nats.pid
        assert nats_pid is not None
        pids = {
            "nats-server": nats_pid,
            "fake provider": self.environment.provider.pid,
            "engine": self.engine.process.pid,
            "plain way": self.plain.process.pid,
            "yardsticks": self.yardsticks.pid,
            "load": self.load.pid,
        }
        return await slices.closed_loop(self.load, pids, contestant, channels, in_flight, seconds)

    def _yardstick(self, subject: str, model: str) -> Contestant:
        return Contestant(self.yardsticks, subject, engines.request(model))


@asynccontextmanager
async def stage(folder: Path, profile: Path | None = None) -> AsyncIterator[Stage]:
    """Start everything, and end it in order after the block. profile: where to write a profile."""
    async with AsyncExitStack() as stack:
        around = await stack.enter_async_context(engines.environment(folder))

        async def engine(variant: Variant) -> Engine:
            return await stack.enter_async_context(engines.engine(around, variant))

        async def child(name: str, *arguments: str) -> Child:
            return await stack.enter_async_context(running(name, module(name, *arguments)))

        yield Stage(
            environment=around,
            engine=await engine(Variant("engine", profile=profile)),
            plain=await engine(Variant("plain way", plain=True)),
            yardsticks=await child("yardsticks", around.nats.url, around.provider_url),
            direct=await child("direct", around.provider_url),
            load=await child("load", around.nats.url, engines.OUTGOING),
        )


async def visit(
    around: Environment, engine: Engine, channels: Sequence[str], *, at_once: int = 1
) -> list[float]:
    """Send a message in each channel and return the microseconds until each was answered.

    Raise ChildFailed.
    """
    asker = await Asker.connect(around.nats.url, [engines.OUTGOING])
    asked = engine.by_request(FAST_MODEL)
    question = Question(asked.subject, asked.body)
    try:
        answers = await asker.visit(question, channels, at_once, VISIT_LIMIT_S)
    except LoadFailed as exc:
        raise ChildFailed(f"{engine.process.name}: {exc}") from exc
    finally:
        asker.wire.close()
    return [(each.now - each.asked) * 1e6 for each in answers]
