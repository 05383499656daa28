"""The section `indexing`: turns a second with the full-text index kept up to date, and without."""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage import search_index
from tests.bench.children import Child, module, running
from tests.bench.engines import FAST_MODEL, Engine, Variant
from tests.bench.figures import Spread, ratios
from tests.bench.plan import Plan
from tests.bench.store.ground import OUTGOING, ground

CHANNELS = 200
WARM_UP_S = 6.0  # longer than until the first update of the index
SLICE_S = 2.0
QUICK_SLICE_S = 1.0
LIMIT_S = 180.0
WITH, WITHOUT = "with the index", "without"


@dataclass(frozen=True)
class Side:
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
    slices: dict[str, list[dict[str, Any]]] = {WITH: [], WITHOUT: []}
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(ground(folder))
        command = module("load", here.environment.nats_url, OUTGOING)
        load = await stack.enter_async_context(running("load", command))
        variants = [
            Variant(name, storage={"search_index": name == WITH}) for name in (WITH, WITHOUT)
        ]
        sides = [await stack.enter_async_context(here.engine(each)) for each in variants]
        for each in sides:
            await _slice(load, each, WARM_UP_S)
        for _ in range(plan.rounds):
            for each, other in (sides, sides[::-1]):
                # The index is updated all the time; that must not slow down the engine without one.
                with _paused(other.process):
                    slices[each.name].append(await _slice(load, each, seconds))
            sides.reverse()
    indexed, rows = _indexed(folder / WITH.replace(" ", "-") / "engine.db")
    return Indexing(
        sides=[_side(name, slices[name]) for name in (WITH, WITHOUT)],
        ratio=ratios(_rates(slices[WITH]), _rates(slices[WITHOUT])),
        rounds=plan.rounds,
        slice_s=seconds,
        indexed=indexed,
        rows=rows,
    )


async def _slice(load: Child, engine: Engine, seconds: float) -> dict[str, Any]:
    contestant = engine.by_request(FAST_MODEL)
    question = {
        "do": "closed_loop",
        "subject": contestant.subject,
        "body": contestant.body,
        "channels": CHANNELS,
        "in_flight": CHANNELS,
        "seconds": seconds,
        "pids": {"engine": engine.process.pid},
    }
    answer = await load.ask(question, LIMIT_S)
    return {**answer, "cpu_us": answer["busy"]["engine"] / answer["answers_a_second"] * 1e6}


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


def _rates(slices: list[dict[str, Any]]) -> list[float]:
    return [each["answers_a_second"] for each in slices]


def _side(name: str, slices: list[dict[str, Any]]) -> Side:
    median = {
        key: statistics.median(each[key] for each in slices)
        for key in ("answers_a_second", "p50_ms", "p99_ms", "cpu_us")
    }
    return Side(
        name, median["answers_a_second"], median["p50_ms"], median["p99_ms"], median["cpu_us"]
    )


def table(result: Indexing) -> list[str]:
    lines = [
        f"Turns while the full-text index is updated: {CHANNELS} channels, a provider that "
        "answers at once;",
        f"{result.rounds} rounds, {result.slice_s:g} s for each in turn, the other engine paused.",
        "",
        "                  turns/s        p50       p99   processor time/turn",
    ]
    lines += [
        f"{side.name:15} {side.turns_a_second:9,.0f}   {side.p50_ms:5.1f} ms {side.p99_ms:6.1f} ms"
        f"   {side.cpu_us:8.0f} us"
        for side in result.sides
    ]
    return [
        *lines,
        f"with, over without: {result.ratio:.2f}",
        f"{result.indexed:,} of {result.rows:,} rows were in the index when the engine ended.",
    ]
