"""The section `checkpoints`: how long commits take while the WAL is copied into the database.

The engine's own checkpoints against SQLite's, which run in the commit that makes the WAL longer
than 1,000 pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.children import Child, module, running
from tests.bench.figures import Spread, percentile, ratios
from tests.bench.plan import Plan
from tests.bench.store import page_cache
from tests.bench.store.grown import Size
from tests.bench.store.keeper import BY_SQLITE, GROUP
from tests.bench.store.kept import copy_of
from tests.bench.store.latencies import HEADING, Latencies, latencies

SIZE = Size(channels=100_000, exchanges=5)
RATE = 2000
SLICE_S = 3.0
QUICK_SLICE_S = 2.0
LIMIT_S = 60.0
OWN, SQLITE = "the engine's", "SQLite's"


@dataclass(frozen=True)
class Way:
    """One way's figures. waits: of each write for its commit. wal_bytes: the largest WAL."""

    name: str
    turns_a_second: float
    waits: Latencies
    wal_bytes: int


@dataclass(frozen=True)
class Checkpoints:
    """The results. ratio: the engine's p99.9 over SQLite's, round by round."""

    ways: list[Way]
    ratio: Spread
    rows: int
    rate: int


@dataclass(frozen=True)
class Contestant:
    name: str
    process: Child
    database: Path

    async def slice(self, seconds: float) -> dict[str, Any]:
        # Some systems drop files from memory that were not read for a while. Then the slice would
        # measure reads from the disk, not writes.
        await asyncio.to_thread(page_cache.read_in, self.database)
        question = {"do": "paced", "rate": RATE, "seconds": seconds}
        return await self.process.ask(question, seconds + LIMIT_S)


async def measure(folder: Path, plan: Plan) -> Checkpoints:
    seconds = QUICK_SLICE_S if plan.quick else SLICE_S
    slices: dict[str, list[dict[str, Any]]] = {OWN: [], SQLITE: []}
    async with (
        _contestant(OWN, folder / "own") as first,
        _contestant(SQLITE, folder / "sqlite", BY_SQLITE) as other,
    ):
        contestants = [first, other]
        for each in contestants:
            await each.slice(1.0)
        for _ in range(plan.rounds):
            for each in contestants:
                slices[each.name].append(await each.slice(seconds))
            contestants.reverse()
    return Checkpoints(
        ways=[_way(name, slices[name]) for name in (OWN, SQLITE)],
        ratio=ratios(_p999(slices[OWN]), _p999(slices[SQLITE])),
        rows=SIZE.rows,
        rate=RATE,
    )


@asynccontextmanager
async def _contestant(name: str, folder: Path, *options: str) -> AsyncIterator[Contestant]:
    database = await copy_of(SIZE, folder)
    command = module("store.keeper", str(database), str(SIZE.channels), *options)
    async with running(name, command) as process:
        yield Contestant(name, process, database)


def _p999(slices: list[dict[str, Any]]) -> list[float]:
    return [percentile(each["waits_us"], 99.9) for each in slices]


def _way(name: str, slices: list[dict[str, Any]]) -> Way:
    return Way(
        name=name,
        turns_a_second=sum(each["turns_a_second"] for each in slices) / len(slices),
        waits=latencies([us for each in slices for us in each["waits_us"]]),
        wal_bytes=max(each["wal_bytes"] for each in slices),
    )


def table(result: Checkpoints) -> list[str]:
    lines = [
        f"Checkpoints: {result.rate:,} turns a second, {GROUP} at once, random channels of a "
        f"database of {result.rows:,} rows,",
        "durability full; how long each write waited for its commit.",
        "",
        f"checkpoints    {HEADING}   turns/s   largest WAL",
    ]
    lines += [
        f"{way.name:14} {way.waits}   {way.turns_a_second:7,.0f}   {way.wal_bytes / 1e6:8.1f} MB"
        for way in result.ways
    ]
    return [*lines, f"p99.9, the engine's over SQLite's: {result.ratio:.2f}"]
