"""The section `checkpoints`: how long commits take while the WAL is copied into the database.

The engine's own checkpoints against SQLite's, which run in the commit that makes the WAL longer
than 1,000 pages.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.children import Child, module, running
from tests.bench.figures import Result, column, latencies, percentile, ratios
from tests.bench.slices import Plan, alternate
from tests.bench.store import page_cache
from tests.bench.store.grown import Size, copy_of
from tests.bench.store.keeper import BY_SQLITE

SIZE = Size(channels=100_000, exchanges=5)
RATE = 2000
SLICE_S = 3.0
QUICK_SLICE_S = 2.0
LIMIT_S = 60.0
OWN, SQLITE = "the engine's", "SQLite's"


async def measure(folder: Path, plan: Plan) -> Result:
    """Measure how long each write waited for its commit.

    ratio: the engine's p99.9 over SQLite's, round by round. wal_bytes: the largest WAL.
    """
    seconds = QUICK_SLICE_S if plan.quick else SLICE_S
    own = await copy_of(SIZE, folder / "own")
    sqlite = await copy_of(SIZE, folder / "sqlite")
    contestants = {}
    async with AsyncExitStack() as stack:
        for name, database, options in ((OWN, own, ()), (SQLITE, sqlite, (BY_SQLITE,))):
            command = module("store.keeper", str(database), str(SIZE.channels), *options)
            keeper = await stack.enter_async_context(running(name, command))
            await _slice(keeper, database, 1.0)
            contestants[name] = partial(_slice, keeper, database, seconds)
        slices = await alternate(contestants, plan.rounds)
    return {
        "ways": [_way(name, each) for name, each in slices.items()],
        "ratio": ratios(_p999(slices[OWN]), _p999(slices[SQLITE])),
        "rows": SIZE.rows,
        "rate": RATE,
    }


async def _slice(keeper: Child, database: Path, seconds: float, _: int = 0) -> dict[str, Any]:
    # Some systems drop files from memory that were not read for a while. Then the slice would
    # measure reads from the disk, not writes.
    await asyncio.to_thread(page_cache.read_in, database)
    question = {"do": "paced", "rate": RATE, "seconds": seconds}
    return await keeper.ask(question, seconds + LIMIT_S)


def _p999(slices: Sequence[dict[str, Any]]) -> list[float]:
    return [percentile(each["waits_us"], 99.9) for each in slices]


def _way(name: str, slices: Sequence[dict[str, Any]]) -> Result:
    return {
        "name": name,
        "turns_a_second": statistics.mean(column(slices, "turns_a_second")),
        "waits": latencies([us for each in slices for us in each["waits_us"]]),
        "wal_bytes": max(column(slices, "wal_bytes")),
    }
