"""How long a channel takes to wake whose conversation the system has in memory and we have not.

Read through the engine's own memory and store; and as its people see it, by the first answer of an
engine beside the second, then from the disk. What waking from the disk takes alone is in `rows`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from tests.bench.children import module, running
from tests.bench.engines import Variant
from tests.bench.plan import Plan
from tests.bench.store import page_cache
from tests.bench.store.ground import ground
from tests.bench.store.grown import Size, channel
from tests.bench.store.kept import copied
from tests.bench.store.latencies import HEADING, Latencies, latencies

SIZE = Size(channels=100_000, exchanges=5)
FULL_SIZE = Size(channels=1_000_000, exchanges=5)
WOKEN, QUICK_WOKEN = 3000, 1000
VISITED = 300
LIMIT_S = 120.0


@dataclass(frozen=True)
class Waking:
    """warm: the file is in memory; first, second: whole answers of an engine over NATS."""

    channels: int
    rows: int
    warm: Latencies
    first: Latencies
    second: Latencies


async def measure(folder: Path, plan: Plan) -> Waking:
    size = FULL_SIZE if plan.full else SIZE
    database = await copied(size, folder / "woken")
    numbers = random.Random(3).sample(range(size.channels), WOKEN + VISITED)
    warm = await _woken(database, size, numbers[: QUICK_WOKEN if plan.quick else WOKEN])
    page_cache.forget(database)
    names = [channel(number) for number in numbers[WOKEN:]]
    storage = {"path": str(database), "search_index": False}
    async with (
        ground(folder) as here,
        here.engine(Variant("waking", storage=storage)) as engine,
    ):
        await here.visit(engine, [f"warm-up-{number}" for number in range(VISITED)])
        first, second = [latencies(await here.visit(engine, names)) for _ in range(2)]
    return Waking(size.channels, size.rows, warm, first, second)


async def _woken(database: Path, size: Size, numbers: list[int]) -> Latencies:
    command = module("store.keeper", str(database), str(size.channels))
    async with running("the store", command) as keeper:
        for _ in range(2):  # the second time all of it is in memory
            said = await keeper.ask({"do": "wake", "numbers": numbers}, LIMIT_S)
    return latencies(said["taken_us"])


def table(result: Waking) -> list[str]:
    lines = [
        f"Waking a channel of {result.channels:,}, {result.rows:,} rows, by random "
        "(from the disk alone: see `rows`):",
        "",
        f"                              {HEADING}",
        f"from the system's memory      {result.warm}",
        f"first answer, from the disk   {result.first}",
        f"second answer of that engine  {result.second}",
    ]
    if not page_cache.CAN_FORGET:
        lines.append("This system cannot be told to forget a file: all of it was in memory.")
    return lines
