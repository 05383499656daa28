"""The saboteur: ends one engine after the other, in every way, and stops nothing else."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from engine.traffic.embedded.server import EmbeddedNats
from tests.chaos.engine import Engine
from tests.chaos.kill_points import POINTS
from tests.chaos.witness import now_ms

READY_LIMIT_S = 60.0
POINT_LIMIT_S = 2.5
DRAIN_LIMIT_S = 60.0
SAY_EVERY = 50
WEIGHTS = {"random": 40, "point": 38, "frozen": 8, "nats": 6, "drain": 8}


@dataclass
class Damage:
    """What was done. `starts` are times (ms) at which an engine began."""

    kills: Counter[str] = field(default_factory=Counter)
    freezes: int = 0
    nats_kills: int = 0
    drains: int = 0
    starts: list[int] = field(default_factory=list)
    disturbances: list[int] = field(default_factory=list)
    unasked_ends: list[str] = field(default_factory=list)

    @property
    def killed(self) -> int:
        return sum(self.kills.values())


class Saboteur:
    """`spawn` makes an engine that waits for its start; it is called one life ahead."""

    def __init__(
        self,
        spawn: Callable[[str | None], Awaitable[Engine]],
        nats: EmbeddedNats,
        damage: Damage,
        rng: random.Random,
        say: Callable[[str], None],
    ) -> None:
        self._spawn = spawn
        self._nats = nats
        self._damage = damage
        self._rng = rng
        self._say = say
        self._next: tuple[str, Engine] | None = None

    async def rage(self, kills: int, until_s: float) -> None:
        """Until so many engines were killed, or the loop's clock says `until_s`."""
        clock = asyncio.get_running_loop().time
        while self._damage.killed < kills and clock() < until_s:
            way, engine = self._next or await self._prepare()
            self._next = None
            try:
                await self._start(engine)
                # While it lives, the next one imports what it needs.
                self._next = await self._prepare()
                await self._end(way, engine)
            finally:
                await engine.kill()

    async def calm(self) -> Engine:
        """A last engine, that nobody ends."""
        await self.aclose()
        engine = await self._spawn(None)
        await self._start(engine)
        if await engine.line(READY_LIMIT_S) is None:
            self._damage.unasked_ends.append(f"the last engine was not ready: {engine.exit_code}")
        return engine

    async def aclose(self) -> None:
        spare, self._next = self._next, None
        if spare is not None:
            await spare[1].kill()

    async def _prepare(self) -> tuple[str, Engine]:
        way = self._rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        kill_at = None
        if way == "point":
            kill_at = f"{self._rng.choice(POINTS)}:{self._rng.choice([1, 1, 2, 3, 5, 8, 13, 21])}"
        return way, await self._spawn(kill_at)

    async def _start(self, engine: Engine) -> None:
        self._damage.starts.append(now_ms())
        self._damage.disturbances.append(now_ms())
        await engine.go()

    async def _end(self, way: str, engine: Engine) -> None:
        match way:
            case "point":
                await self._at_point(engine)
            case "frozen":
                await self._frozen(engine)
            case "nats":
                await self._without_nats(engine)
            case "drain":
                await self._drain(engine)
            case _:
                await asyncio.sleep(self._rng.choice([0.3, 0.8, 1.4]) * self._rng.random())
                await self._kill(engine, "random instant")

    async def _kill(self, engine: Engine, kind: str) -> None:
        code = await engine.kill()
        if code == -signal.SIGKILL:
            self._count(kind)
        else:
            self._damage.unasked_ends.append(f"an engine ended by itself: {code}")

    def _count(self, kind: str) -> None:
        self._damage.kills[kind] += 1
        if self._damage.killed % SAY_EVERY == 0:
            self._say(f"{self._damage.killed} kills")

    async def _at_point(self, engine: Engine) -> None:
        if await engine.ended(POINT_LIMIT_S) == -signal.SIGKILL:
            assert engine.kill_at is not None
            self._count(engine.kill_at.partition(":")[0])
        else:
            await self._kill(engine, "random instant")

    async def _frozen(self, engine: Engine) -> None:
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

    async def _without_nats(self, engine: Engine) -> None:
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

    async def _drain(self, engine: Engine) -> None:
        """A clean stop, right after it is ready or a little later."""
        if await engine.line(READY_LIMIT_S) is None:
            self._damage.unasked_ends.append(f"an engine was not ready: {engine.exit_code}")
            return
        await asyncio.sleep(self._rng.choice([0.0, 0.3]) * self._rng.random())
        engine.signal(signal.SIGTERM)
        code = await engine.ended(DRAIN_LIMIT_S)
        self._damage.drains += 1
        if code != 0:
            self._damage.unasked_ends.append(f"a drain ended with {code}")
