"""The section `footprint`: memory of a resident channel, and of an engine with many channels."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.bench import machine
from tests.bench.children import module, running
from tests.bench.engines import Engine, Variant
from tests.bench.figures import Spread, spread
from tests.bench.plan import Plan
from tests.bench.store import grown, page_cache
from tests.bench.store.ground import Ground, ground
from tests.bench.store.grown import WINDOW, Size, channel
from tests.bench.store.kept import copy_of

RESIDENT_SIZE = Size(channels=20_000, exchanges=5)
KNOWN_SIZE = Size(channels=1_000_000, exchanges=1)
WARM = 5000  # more than fit into the bounded caches
COUNTED, QUICK_COUNTED = 10_000, 5000
RESIDENT = 10_000
PROCESSES = 3
AT_ONCE = 64
CHILD_LIMIT_S = 300.0
CALM_S = 7.0  # longer than until the next snapshots, shorter than until passivation


@dataclass(frozen=True)
class Footprint:
    """The results. bytes_a_channel: an idle channel with a full window, measured in `processes`.

    The rest is the memory of whole engines. empty: without channels. known: with that many on
    disk. busy: with `resident` of them in memory, right after their turns. resident: later, idle.
    """

    bytes_a_channel: Spread
    processes: int
    known: int
    resident: int
    empty_bytes: int
    known_bytes: int
    busy_bytes: int
    resident_bytes: int

    @property
    def above_bytes(self) -> int:
        return self.resident_bytes - self.empty_bytes


async def measure(folder: Path, plan: Plan) -> Footprint:
    processes = 1 if plan.quick else PROCESSES
    counted = QUICK_COUNTED if plan.quick else COUNTED
    database = await copy_of(RESIDENT_SIZE, folder / "residents")
    each = [await _bytes_a_channel(database, counted) for _ in range(processes)]
    # Not a new database: creating its schema takes memory that no later start takes.
    nothing = folder / "nothing.db"
    await grown.grow(nothing, Size(channels=0, exchanges=0))
    without = Variant("empty", storage={"path": str(nothing)})
    async with ground(folder) as here, here.engine(without) as empty:
        known = await copy_of(KNOWN_SIZE, folder / "known-channels")
        page_cache.forget(known)
        async with here.engine(Variant("known", storage={"path": str(known)})) as engine:
            whole = await _whole(here, empty, engine)
    return Footprint(
        bytes_a_channel=spread(each),
        processes=processes,
        known=KNOWN_SIZE.channels,
        resident=RESIDENT,
        **whole,
    )


async def _bytes_a_channel(database: Path, counted: int) -> float:
    arguments = (str(database), "0", str(WARM), str(counted))
    async with running("an engine", module("store.residents", *arguments)) as child:
        answer = orjson.loads(await child.read_line(CHILD_LIMIT_S))
    return float(answer["bytes_a_channel"])


async def _whole(here: Ground, empty: Engine, engine: Engine) -> dict[str, int]:
    pid, found = engine.process.pid, {"empty_bytes": machine.rss_bytes(empty.process.pid)}
    found["known_bytes"] = machine.rss_bytes(pid)
    step = KNOWN_SIZE.channels // RESIDENT
    names = [channel(number) for number in range(0, KNOWN_SIZE.channels, step)]
    for _ in range(WINDOW // 2):
        await here.visit(engine, names, at_once=AT_ONCE)
    found["busy_bytes"] = machine.rss_bytes(pid)
    await asyncio.sleep(CALM_S)
    found["resident_bytes"] = machine.rss_bytes(pid)
    return found


def table(result: Footprint) -> list[str]:
    megabytes = {
        "an engine without channels": result.empty_bytes,
        f"with {result.known:,} channels known": result.known_bytes,
        f"{result.resident:,} of them resident, right after their turns": result.busy_bytes,
        "the same, idle": result.resident_bytes,
    }
    return [
        f"Memory, with {WINDOW} messages of 200 bytes in each channel's window:",
        "",
        f"an idle resident channel: {result.bytes_a_channel:,.0f} bytes, "
        f"{result.processes} processes",
        *(f"{size / 1e6:7.1f} MB   {what}" for what, size in megabytes.items()),
        f"{result.above_bytes / 1e6:7.1f} MB   more than the engine without channels",
    ]
