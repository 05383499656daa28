"""How what the store does grows with the rows of its history."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.children import Child, module, running
from tests.bench.figures import Spread, spread
from tests.bench.plan import Plan
from tests.bench.store import page_cache, searching
from tests.bench.store.ground import ground
from tests.bench.store.grown import Size
from tests.bench.store.kept import copied, kept
from tests.bench.store.latencies import Latencies, latencies
from tests.bench.store.startup import Start

SIZES = (Size(1_000, 5), Size(100_000, 5))
FULL_SIZES = (*SIZES, Size(1_000_000, 5))
TURNS, WOKEN = 200, 200  # in each round
SEARCHES, QUICK_SEARCHES = 200, 100
STARTS = 5
LIMIT_S = 120.0


@dataclass(frozen=True)
class RowsRow:
    """turn: until its outcome is on disk, one turn at a time. wake: from the file, after it was
    let go from memory once. search: two words. bytes_a_row: of the whole file, snapshots and all.
    """

    channels: int
    rows: int
    turn: Latencies
    wake: Latencies
    search: Latencies
    bytes_a_row: float
    start_s: Spread


@dataclass(frozen=True)
class Rows:
    """By the number of rows."""

    rows: dict[str, RowsRow]


async def measure(folder: Path, plan: Plan) -> Rows:
    sizes = FULL_SIZES if plan.full else SIZES
    turns_us: dict[Size, list[float]] = {size: [] for size in sizes}
    wakes_us: dict[Size, list[float]] = {size: [] for size in sizes}
    chance = random.Random(11)
    async with _keepers(folder, sizes) as keepers:
        for _ in range(plan.rounds):
            for size, keeper in keepers.items():
                turns_us[size] += await _asked(keeper, {"do": "turns", "count": TURNS})
                numbers = chance.sample(range(size.channels), WOKEN)
                wakes_us[size] += await _asked(keeper, {"do": "wake", "numbers": numbers})
    searches = QUICK_SEARCHES if plan.quick else SEARCHES
    starts = await _starts(folder, sizes)
    rows = {}
    for size in sizes:
        database = await kept(size)
        found = await asyncio.to_thread(searching.warm_times, database, size, searches)
        rows[str(size.rows)] = RowsRow(
            channels=size.channels,
            rows=size.rows,
            turn=latencies(turns_us[size]),
            wake=latencies(wakes_us[size]),
            search=found["two words"],
            bytes_a_row=database.stat().st_size / size.rows,
            start_s=spread(starts[size]),
        )
    return Rows(rows)


@asynccontextmanager
async def _keepers(folder: Path, sizes: tuple[Size, ...]) -> AsyncIterator[dict[Size, Child]]:
    """A process for each size, alive at once, with a copy of its own."""
    async with AsyncExitStack() as stack:
        keepers = {}
        for size in sizes:
            database = await copied(size, folder / str(size.rows))
            await asyncio.to_thread(page_cache.forget, database)
            command = module("store.keeper", str(database), str(size.channels))
            name = f"the store of {size.rows:,} rows"
            keepers[size] = await stack.enter_async_context(running(name, command))
        yield keepers


async def _asked(keeper: Child, question: dict[str, object]) -> list[float]:
    taken_us: list[float] = (await keeper.ask(question, LIMIT_S))["taken_us"]
    return taken_us


async def _starts(folder: Path, sizes: tuple[Size, ...]) -> dict[Size, list[float]]:
    seconds: dict[Size, list[float]] = {size: [] for size in sizes}
    async with ground(folder) as here:
        starts = {size: Start(here, f"rows-{size.rows}", await kept(size)) for size in sizes}
        for _ in range(STARTS):
            for size, start in starts.items():
                await start.measure(seconds[size], [])
    return seconds


def table(result: Rows) -> list[str]:
    lines = [
        "How the store grows with its history; p50 / p99 in ms, durability full:",
        "",
        "      rows   channels   a turn committed   a channel woken   a search   bytes/row   start",
    ]
    lines += [
        f"{row.rows:10,} {row.channels:10,}   {_pair(row.turn):>16}   {_pair(row.wake):>15}   "
        f"{_pair(row.search):>8} {row.bytes_a_row:9.0f}   {row.start_s.median:.2f} s"
        for row in result.rows.values()
    ]
    return lines


def _pair(taken: Latencies) -> str:
    return f"{taken.p50_ms:.2f} / {taken.p99_ms:.2f}"
