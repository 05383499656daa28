"""The section `overload`: answers and refusals when the provider cannot answer everything."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from tests.bench import machine
from tests.bench.engines import Contestant, Variant
from tests.bench.slices import Plan
from tests.bench.stage import Stage

SLOTS = 40
MODEL, MODEL_MS = "ms-100", 100
CAPACITY = SLOTS * 1000 / MODEL_MS  # answers a second
CHANNELS = 200
# As many as the provider answers in a second; `busy` is better than a longer wait.
WAITING_LIMIT = int(CAPACITY)
LOADS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
SETTLING_S = 1.0


@dataclass(frozen=True)
class OverloadRow:
    """The figures at one load. load: times the capacity. Rates: after the first second."""

    load: float
    seconds: float
    offered: int
    answered: int
    busy: int
    answered_a_second: float
    busy_a_second: float
    p50_ms: float
    p99_ms: float
    busy_p50_ms: float
    busy_p99_ms: float
    late_p99_ms: float
    rss_mib: float


@dataclass(frozen=True)
class Overload:
    """The results. Every message got exactly one outcome.

    capacity: how many answers a second the provider can give. longest: a long run at the highest
    load. rss_mib: memory in each second of it. over_capacity: its answers a second over `capacity`.
    """

    capacity: float
    rows: list[OverloadRow]
    longest: OverloadRow
    rss_mib: list[float]
    rss_growth_mib: float
    over_capacity: float


async def measure(stage: Stage, plan: Plan) -> Overload:
    seconds, long_s = (2.5, 10.0) if plan.quick else (3.0, 60.0)
    limits = {"commands_limit": WAITING_LIMIT}
    variant = Variant("overloaded", channels=limits, max_concurrency=SLOTS)
    async with stage.another(variant) as engine:
        contestant = engine.by_request(MODEL)
        await _offer(stage, contestant, 0.5, 2.0)
        rows = [await _offer(stage, contestant, load, seconds) for load in LOADS]
        watching = asyncio.create_task(_watch(contestant.process.pid))
        longest = await _offer(stage, contestant, LOADS[-1], long_s)
        watching.cancel()
        rss_mib = await watching
    # From the moment when the queue is full: filling it may take memory, a steady flow may not.
    settled = rss_mib[min(2, len(rss_mib) - 1) :]
    return Overload(
        capacity=CAPACITY,
        rows=rows,
        longest=longest,
        rss_mib=rss_mib,
        rss_growth_mib=settled[-1] - settled[0],
        over_capacity=longest.answered_a_second / CAPACITY,
    )


async def _offer(stage: Stage, contestant: Contestant, load: float, seconds: float) -> OverloadRow:
    answer: dict[str, Any] = await stage.ask(
        "open_loop",
        contestant,
        channels=CHANNELS,
        rate=load * CAPACITY,
        seconds=seconds,
        seed=round(load * 100),
        counted_from_s=SETTLING_S,
        limit_s=seconds + 60.0,
    )
    sent = answer.pop("sent")
    rss_mib = machine.rss_bytes(contestant.process.pid) / machine.MIB
    return OverloadRow(load=load, seconds=seconds, offered=sent, rss_mib=rss_mib, **answer)


async def _watch(pid: int) -> list[float]:
    """Take the memory in MiB each second, until cancelled."""
    found = [machine.rss_bytes(pid) / machine.MIB]
    try:
        while True:
            await asyncio.sleep(1)
            found.append(machine.rss_bytes(pid) / machine.MIB)
    except asyncio.CancelledError:
        return found
