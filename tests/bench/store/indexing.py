"""The section `indexing`: turns a second with the full-text index kept up to date, and without."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from storage import search_index
from tests.bench import engines
from tests.bench.children import Child, module, running
from tests.bench.engines import FAST_MODEL, Variant
from tests.bench.figures import Result, medians, ratio
from tests.bench.slices import Plan, alternate, closed_loop

CHANNELS = 200
WARM_UP_S = 6.0  # longer than until the first update of the index
SLICE_S = 2.0
QUICK_SLICE_S = 1.0
WITH, WITHOUT = "with the index", "without"


async def measure(folder: Path, plan: Plan) -> Result:
    """Measure closed loops, medians by side; indexed: how many of the `rows` were in the index."""
    seconds = QUICK_SLICE_S if plan.quick else SLICE_S
    async with AsyncExitStack() as stack:
        around = await stack.enter_async_context(engines.environment(folder))
        command = module("load", around.nats.url, engines.OUTGOING)
        load = await stack.enter_async_context(running("load", command))
        sides = {}
        for name in (WITH, WITHOUT):
            variant = Variant(name, storage={"search_index": name == WITH})
            engine = await stack.enter_async_context(engines.engine(around, variant))
            sides[name] = engine.by_request(FAST_MODEL)

        async def measure_slice(name: str, seconds: float, _: int = 0) -> dict[str, Any]:
            return await closed_loop(load, {}, sides[name], CHANNELS, CHANNELS, seconds)

        async def measure_alone(name: str, other: str, _: int) -> dict[str, Any]:
            # The index is updated all the time; that must not slow down the engine without one.
            with _paused(sides[other].process):
                return await measure_slice(name, seconds)

        for name in sides:
            await measure_slice(name, WARM_UP_S)
        slices = await alternate(
            {
                WITH: partial(measure_alone, WITH, WITHOUT),
                WITHOUT: partial(measure_alone, WITHOUT, WITH),
            },
            plan.rounds,
        )
    indexed, rows = _indexed(folder / WITH.replace(" ", "-") / "engine.db")
    return {
        "sides": [_side(name, each) for name, each in slices.items()],
        "ratio": ratio("answers_a_second", slices[WITH], slices[WITHOUT]),
        "rounds": plan.rounds,
        "slice_s": seconds,
        "indexed": indexed,
        "rows": rows,
    }


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


def _side(name: str, slices: Sequence[dict[str, Any]]) -> Result:
    found = medians(slices, "answers_a_second", "p50_ms", "p99_ms", "cpu_us")
    return {"name": name, "turns_a_second": found.pop("answers_a_second"), **found}
