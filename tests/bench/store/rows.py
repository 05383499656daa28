"""The section `rows`: commits, waking, searching and starting with a growing history."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

from storage.search_index import path_of
from tests.bench import engines
from tests.bench.children import Child, module, running
from tests.bench.engines import Variant
from tests.bench.figures import Result, latencies, spread
from tests.bench.slices import Plan
from tests.bench.store import page_cache, searching
from tests.bench.store.grown import Size, cached_database, copy_of
from tests.bench.store.startup import time_start

SIZES = (Size(1_000, 5), Size(100_000, 5))
FULL_SIZES = (*SIZES, Size(1_000_000, 5))
TURNS, WOKEN = 200, 200  # in each round
SEARCHES, QUICK_SEARCHES = 400, 100
STARTS, QUICK_STARTS = 11, 5
LIMIT_S = 120.0


async def measure(folder: Path, plan: Plan) -> Result:
    """Measure the figures for each size of the history; rows: by the number of rows.

    turn: until its outcome is on disk, one turn at a time.
    wake: from the file, which was dropped from memory once, with nothing else to do.
    wake_amid_turns: the same right after TURNS turns, when their WAL may still be large.
    search: by kind of words, in memory.
    bytes_a_row: of the whole file with snapshots; indexed_bytes_a_row: of the full-text index.
    """
    sizes = FULL_SIZES if plan.full else SIZES
    turns_us: dict[Size, list[float]] = {size: [] for size in sizes}
    wakes_us: dict[Size, list[float]] = {size: [] for size in sizes}
    amid_us: dict[Size, list[float]] = {size: [] for size in sizes}
    chance = random.Random(11)
    databases = {size: await copy_of(size, folder / str(size.rows)) for size in sizes}
    keepers: dict[Size, Child] = {}
    async with AsyncExitStack() as stack:
        for size, database in databases.items():
            command = module("store.keeper", str(database), str(size.channels))
            keeper = running(f"the store of {size.rows:,} rows", command)
            keepers[size] = await stack.enter_async_context(keeper)
        await _forget(databases.values())
        for _ in range(plan.rounds):
            for size, child in keepers.items():
                wakes_us[size] += await _wake(child, size, chance)
        await _forget(databases.values())
        for _ in range(plan.rounds):
            for size, child in keepers.items():
                turns_us[size] += await _ask(child, {"do": "turns", "count": TURNS})
                amid_us[size] += await _wake(child, size, chance)
    searches = QUICK_SEARCHES if plan.quick else SEARCHES
    starts = await _starts(folder, sizes, QUICK_STARTS if plan.quick else STARTS)
    rows = {}
    for size in sizes:
        database = await cached_database(size)
        found = await asyncio.to_thread(searching.warm_times, database, size, searches)
        rows[str(size.rows)] = {
            "channels": size.channels,
            "rows": size.rows,
            "turn": latencies(turns_us[size]),
            "wake": latencies(wakes_us[size]),
            "wake_amid_turns": latencies(amid_us[size]),
            "search": found,
            "bytes_a_row": database.stat().st_size / size.rows,
            "indexed_bytes_a_row": path_of(database).stat().st_size / size.rows,
            "start_s": spread(starts[size]),
        }
    return {"rows": rows}


async def _forget(databases: Iterable[Path]) -> None:
    for database in databases:
        await asyncio.to_thread(page_cache.forget, database)


async def _wake(keeper: Child, size: Size, chance: random.Random) -> list[float]:
    numbers = chance.sample(range(size.channels), WOKEN)
    return await _ask(keeper, {"do": "wake", "numbers": numbers})


async def _ask(keeper: Child, question: dict[str, object]) -> list[float]:
    taken_us: list[float] = (await keeper.ask(question, LIMIT_S))["taken_us"]
    return taken_us


async def _starts(folder: Path, sizes: tuple[Size, ...], count: int) -> dict[Size, list[float]]:
    seconds: dict[Size, list[float]] = {size: [] for size in sizes}
    async with engines.environment(folder) as around:
        commands = {}
        for size in sizes:
            storage = {"path": str(await cached_database(size))}
            variant = Variant(f"rows-{size.rows}", storage=storage)
            commands[size] = engines.engine_command(around, variant)
        for _ in range(count):
            for size, command in commands.items():
                seconds[size].append(await time_start(command, engines.variables(around)))
    return seconds
