"""The section `waking`: how long it takes to load a channel that is not in the engine's memory.

Measured in the store, with the file in the system's memory; and in whole answers from the disk, a
channel's first beside its second. The section `rows` measures waking from the disk alone.
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
from tests.bench.store.kept import copy_of
from tests.bench.store.latencies import HEADING, Latencies, latencies

SIZE = Size(channels=100_000, exchanges=5)
FULL_SIZE = Size(channels=1_000_000, exchanges=5)
WOKEN, QUICK_WOKEN = 3000, 1000
VISITED = 300
LIMIT_S = 120.0


@dataclass(frozen=True)
class Waking:
    """The results. warm: the file is in memory. first, second: whole answers over NATS."""

    channels: int
    rows: int
    warm: Latencies
    first: Latencies
    second: Latencies


async def measure(folder: Path, plan: Plan) -> Waking:
    size = FULL_SIZE if plan.full else SIZE
    database = await copy_of(size, folder / "woken")
    numbers = random.Random(3).sample(range(size.channels), WOKEN + VISITED)
    warm = await _wake(database, size, numbers[: QUICK_WOKEN if plan.quick else WOKEN])
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


async def _wake(database: Path, size: Size, numbers: list[int]) -> Latencies:
    command = module("store.keeper", str(database), str(size.channels))
    async with running("the store", command) as keeper:
        for _ in range(2):  # the second time, everything is in memory
            answer = await keeper.ask({"do": "wake", "numbers": numbers}, LIMIT_S)
    return latencies(answer["taken_us"])


def table(result: Waking) -> list[str]:
    lines = [
        f"Waking random channels of {result.channels:,}, with {result.rows:,} rows "
        "(from the disk alone: see `rows`):",
        "",
        f"                              {HEADING}",
        f"from the system's memory      {result.warm}",
        f"first answer, from the disk   {result.first}",
        f"second answer, same channel   {result.second}",
    ]
    if not page_cache.CAN_FORGET:
        lines.append("This system cannot drop a file from memory: all of it was in memory.")
    return lines
