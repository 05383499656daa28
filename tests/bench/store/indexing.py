"""The section `indexing`: turns a second with the full-text index kept up to date, and without."""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from storage import search_index
from tests.bench import engines
from tests.bench.children import Child, module, running
from tests.bench.engines import FAST_MODEL, Variant
from tests.bench.figures import Spread, ratios
from tests.bench.slices import ClosedLoop, Plan, Slice, alternate, rates

CHANNELS = 200
WARM_UP_S = 6.0  # longer than until the first update of the index
SLICE_S = 2.0
QUICK_SLICE_S = 1.0
WITH, WITHOUT = "with the index", "without"


@dataclass(frozen=True)
class Side:
    """Medians of one engine's slices."""

    name: str
    turns_a_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


@dataclass(frozen=True)
class Indexing:
    """The results. indexed: how many of the `rows` were in the index at the end."""

    sides: list[Side]
    ratio: Spread
    rounds: int
    slice_s: float
    indexed: int
    rows: int


async def measure(folder: Path, plan: Plan) -> Indexing:
    seconds = QUICK_SLICE_S if plan.quick else SLICE_S
    async with AsyncExitStack() as stack:
        around = await stack.enter_async_context(engines.environment(folder))
        command = module("load", around.nats.url, "bench.out.>")
        load = await stack.enter_async_context(running("load", command))
        sides = {}
        for name in (WITH, WITHOUT):
            variant = Variant(name, storage={"search_index": name == WITH})
            engine = await stack.enter_async_context(engines.engine(around, variant))
            asked = engine.by_request(FAST_MODEL)
            sides[name] = ClosedLoop(load, {}, asked, CHANNELS, CHANNELS)
        for loop in sides.values():
            await loop.slice(WARM_UP_S)
        contestants = {
            WITH: partial(_slice, sides[WITH], sides[WITHOUT], seconds),
            WITHOUT: partial(_slice, sides[WITHOUT], sides[WITH], seconds),
        }
        slices = await alternate(contestants, plan.rounds)
    indexed, rows = _indexed(folder / WITH.replace(" ", "-") / "engine.db")
    return Indexing(
        sides=[_side(name, each) for name, each in slices.items()],
        ratio=ratios(rates(slices[WITH]), rates(slices[WITHOUT])),
        rounds=plan.rounds,
        slice_s=seconds,
        indexed=indexed,
        rows=rows,
    )


async def _slice(loop: ClosedLoop, other: ClosedLoop, seconds: float, _: int) -> Slice:
    # The index is updated all the time; that must not slow down the engine without one.
    with _paused(other.contestant.process):
        return await loop.slice(seconds)


@contextmanager
def _paused(child: Child) -> Iterator[None]:
    os.kill(child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(child.pid, signal.SIGCONT)


def _indexed(database: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(search_index.path_of(database))) as connection:
        (upto,) = connection.execute("SELECT upto FROM state").fetchone()
    with closing(sqlite3.connect(database)) as connection:
        (rows,) = connection.execute("SELECT max(id) FROM history").fetchone()
    return int(upto), int(rows)


def _side(name: str, slices: Sequence[Slice]) -> Side:
    return Side(
        name=name,
        turns_a_second=statistics.median(rates(slices)),
        p50_ms=statistics.median(each.p50_ms for each in slices),
        p99_ms=statistics.median(each.p99_ms for each in slices),
        cpu_us=statistics.median(each.cpu_us for each in slices),
    )
