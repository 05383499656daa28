"""The section `waking`: how long it takes to load a channel that is not in the engine's memory.

Measured in the store, with the file in the system's memory; and in whole answers from the disk, a
channel's first beside its second. The section `rows` measures waking from the disk alone.
"""

from __future__ import annotations

import random
from pathlib import Path

from tests.bench import engines
from tests.bench.children import module, running
from tests.bench.engines import Variant
from tests.bench.figures import Result, latencies
from tests.bench.slices import Plan
from tests.bench.stage import visit
from tests.bench.store import page_cache
from tests.bench.store.grown import Size, channel, copy_of

SIZE = Size(channels=100_000, exchanges=5)
FULL_SIZE = Size(channels=1_000_000, exchanges=5)
WOKEN, QUICK_WOKEN = 3000, 1000
VISITED = 300
LIMIT_S = 120.0


async def measure(folder: Path, plan: Plan) -> Result:
    """Measure waking; warm: the file is in memory. first, second: whole answers over NATS."""
    size = FULL_SIZE if plan.full else SIZE
    database = await copy_of(size, folder / "woken")
    numbers = random.Random(3).sample(range(size.channels), WOKEN + VISITED)
    warm = await _wake(database, size, numbers[: QUICK_WOKEN if plan.quick else WOKEN])
    page_cache.forget(database)
    names = [channel(number) for number in numbers[WOKEN:]]
    storage = {"path": str(database), "search_index": False}
    async with (
        engines.environment(folder) as around,
        engines.engine(around, Variant("waking", storage=storage)) as engine,
    ):
        await visit(around, engine, [f"warm-up-{number}" for number in range(VISITED)])
        first, second = [latencies(await visit(around, engine, names)) for _ in range(2)]
    return {
        "channels": size.channels,
        "rows": size.rows,
        "warm": warm,
        "first": first,
        "second": second,
    }


async def _wake(database: Path, size: Size, numbers: list[int]) -> Result:
    command = module("store.keeper", str(database), str(size.channels))
    async with running("the store", command) as keeper:
        for _ in range(2):  # the second time, everything is in memory
            answer = await keeper.ask({"do": "wake", "numbers": numbers}, LIMIT_S)
    return latencies(answer["taken_us"])
