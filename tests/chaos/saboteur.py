"""The saboteur of a chaos run: starts engines one after the other, and kills each in some way."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from engine.traffic.embedded.server import EmbeddedNats
from tests.chaos.engine import EngineProcess
from tests.chaos.kill_points import POINTS
from tests.chaos.witness import now_ms

READY_LIMIT_S = 60.0
POINT_LIMIT_S = 2.5
DRAIN_LIMIT_S = 60.0
REPORT_EVERY = 50
WEIGHTS = {"random": 40, "point": 38, "frozen": 8, "nats": 6, "drain": 8}


@dataclass
class Damage:
    """What the saboteur has done. `starts` and `disturbances` are times in ms.

    unexpected_ends: engines that ended in another way than they were told to.
    """

    kills: Counter[str] = field(default_factory=Counter)
    freezes: int = 0
    nats_kills: int = 0
    drains: int = 0
    starts: list[int] = field(default_factory=list)
    disturbances: list[int] = field(default_factory=list)
    unexpected_ends: list[str] = field(default_factory=list)

    @property
    def killed(self) -> int:
        return sum(self.kills.values())


class Saboteur:
    """A loop that starts and ends engines; `spawn` makes each one ahead of its start.

    rest_s: how long an engine is left in peace at most, before it is ended in some way.
    """

    def __init__(
        self,
        spawn: Callable[[str | None], Awaitable[EngineProcess]],
        nats: EmbeddedNats,
        damage: Damage,
        rng: random.Random,
        report: Callable[[str], None],
        *,
        rest_s: float = 0.0,
    ) -> None:
        self._spawn = spawn
        self._nats = nats
        self._damage = damage
        self._rng = rng
        self._report = report
        self._rest_s = rest_s
        self._next: tuple[str, EngineProcess] | None = None

    async def kill_engines(self, enough: Callable[[], bool], until_s: float) -> None:
        """Kill engines until there were enough, or until the loop's clock reaches `until_s`."""
        clock = asyncio.get_running_loop().time
        while not enough() and clock() < until_s:
            way, engine = self._next or await self._prepare()
            self._next = None
            try:
                await self._start_engine(engine)
                # The next one imports its modules while this one runs.
                self._next = await self._prepare()
                await self._end_engine(way, engine)
            finally:
                await engine.kill()

    async def start_last_engine(self) -> EngineProcess:
        """Start an engine that is not killed."""
        await self.aclose()
        engine = await self._spawn(None)
        await self._start_engine(engine)
        if await engine.read_line(READY_LIMIT_S) is None:
            self._damage.unexpected_ends.append(
                f"the last engine was not ready: {engine.exit_code}"
            )
        return engine

    async def aclose(self) -> None:
        spare, self._next = self._next, None
        if spare is not None:
            await spare[1].kill()

    async def _prepare(self) -> tuple[str, EngineProcess]:
        way = self._rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        kill_at = None
        if way == "point":
            kill_at = f"{self._rng.choice(POINTS)}:{self._rng.choice([1, 1, 2, 3, 5, 8, 13, 21])}"
        return way, await self._spawn(kill_at)

    async def _start_engine(self, engine: EngineProcess) -> None:
        self._damage.starts.append(now_ms())
        self._damage.disturbances.append(now_ms())
        await engine.start()

    async def _end_engine(self, way: str, engine: EngineProcess) -> None:
        if self._rest_s:
            await engine.wait(self._rng.uniform(0, self._rest_s))  # it may die at its point
        match way:
            case "point":
                await self._kill_at_point(engine)
            case "frozen":
                await self._freeze(engine)
            case "nats":
                await self._kill_nats(engine)
            case "drain":
                await self._drain_engine(engine)
            case _:
                await asyncio.sleep(self._rng.choice([0.3, 0.8, 1.4]) * self._rng.random())
                await self._kill(engine, "random instant")

    async def _kill(self, engine: EngineProcess, kind: str) -> None:
        code = await engine.kill()
        if code == -signal.SIGKILL:
            self._count(kind)
        else:
            self._damage.unexpected_ends.append(f"an engine ended by itself: {code}")

    def _count(self, kind: str) -> None:
        self._damage.kills[kind] += 1
        if self._damage.killed % REPORT_EVERY == 0:
            self._report(f"{self._damage.killed} kills")

    async def _kill_at_point(self, engine: EngineProcess) -> None:
        if await engine.wait(POINT_LIMIT_S) == -signal.SIGKILL:
            assert engine.kill_at is not None
            self._count(engine.kill_at.partition(":")[0])
        else:
            await self._kill(engine, "random instant")

    async def _freeze(self, engine: EngineProcess) -> None:
        await asyncio.sleep(self._rng.uniform(0.05, 0.6))
        engine.signal(signal.SIGSTOP)
        self._damage.freezes += 1
        await asyncio.sleep(self._rng.uniform(0.05, 0.6))
        if self._rng.random() < 0.3:
            await self._kill(engine, "while frozen")
            return
        engine.signal(signal.SIGCONT)
        await asyncio.sleep(self._rng.uniform(0.1, 0.8))
        await self._kill(engine, "random instant")

    async def _kill_nats(self, engine: EngineProcess) -> None:
        await asyncio.sleep(self._rng.uniform(0.1, 0.5))
        assert self._nats.pid is not None
        self._damage.disturbances.append(now_ms())
        os.kill(self._nats.pid, signal.SIGKILL)
        await self._nats.died()
        self._damage.nats_kills += 1
        await asyncio.sleep(self._rng.uniform(0, 0.5))
        if engine_too := self._rng.random() < 0.3:
            await self._kill(engine, "without NATS")
        await self._nats.start()
        self._damage.disturbances.append(now_ms())
        if not engine_too:
            await asyncio.sleep(self._rng.uniform(0.3, 2.0))
            self._damage.disturbances.append(now_ms())
            await self._kill(engine, "after NATS was back")

    async def _drain_engine(self, engine: EngineProcess) -> None:
        """Stop an engine with SIGTERM, as soon as it is ready or a little later."""
        if await engine.read_line(READY_LIMIT_S) is None:
            self._damage.unexpected_ends.append(f"an engine was not ready: {engine.exit_code}")
            return
        await asyncio.sleep(self._rng.choice([0.0, 0.3]) * self._rng.random())
        engine.signal(signal.SIGTERM)
        code = await engine.wait(DRAIN_LIMIT_S)
        self._damage.drains += 1
        if code != 0:
            self._damage.unexpected_ends.append(f"a drain ended with {code}")
