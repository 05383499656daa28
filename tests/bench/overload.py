"""The section `overload`: answers and refusals when the provider cannot answer everything."""

from __future__ import annotations

import asyncio

from tests.bench import machine
from tests.bench.engines import Contestant, Variant
from tests.bench.figures import Result
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


async def measure(stage: Stage, plan: Plan) -> Result:
    """Measure answers and refusals; every message got exactly one outcome.

    capacity: how many answers a second the provider can give. longest: a long run at the highest
    load. rss_mib: memory in each second of it. over_capacity: its answers a second over `capacity`.
    """
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
    return {
        "capacity": CAPACITY,
        "rows": rows,
        "longest": longest,
        "rss_mib": rss_mib,
        "rss_growth_mib": settled[-1] - settled[0],
        "over_capacity": longest["answered_a_second"] / CAPACITY,
    }


async def _offer(stage: Stage, contestant: Contestant, load: float, seconds: float) -> Result:
    """Return the figures at one load, in times the capacity. Rates: after the first second."""
    answer = await stage.ask(
        "open_loop",
        contestant,
        channels=CHANNELS,
        rate=load * CAPACITY,
        seconds=seconds,
        seed=round(load * 100),
        counted_from_s=SETTLING_S,
        limit_s=seconds + 60.0,
    )
    offered, rss_mib = answer.pop("sent"), machine.rss_bytes(contestant.process.pid) / machine.MIB
    return {"load": load, "seconds": seconds, "offered": offered, "rss_mib": rss_mib, **answer}


async def _watch(pid: int) -> list[float]:
    """Take the memory in MiB each second, until cancelled."""
    found = [machine.rss_bytes(pid) / machine.MIB]
    try:
        while True:
            await asyncio.sleep(1)
            found.append(machine.rss_bytes(pid) / machine.MIB)
    except asyncio.CancelledError:
        return found
