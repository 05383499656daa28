"""The engine's sections in open loops: latency, fairness, overload."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from tests.bench import machine
from tests.bench.figures import Plan, Result, alternate, column, medians, ratio, spread
from tests.bench.stage import Contestant, Stage, Variant

LATENCY_MODEL = "ms-50"
FAST, SLOW = 500, 1  # messages a second
CHANNELS = 200

FAIR_MODEL, FAIR_SLOTS = "ms-20", 8
FAIR_RATE = 200.0  # half of what the slots can do, so that quiet channels often wait for one
FAIR_SLICE_S = 1.5
QUIET, WAITING = 99, 1000

OVERLOAD_MODEL, OVERLOAD_SLOTS = "ms-100", 40
CAPACITY = OVERLOAD_SLOTS * 10  # answers a second
# As many as the provider answers in a second; `busy` is better than a longer wait.
WAITING_LIMIT = CAPACITY
LOADS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
SETTLING_S = 1.0

# The arguments are rate, seconds and seed.
MeasureSlice = Callable[[float, float, int], Awaitable[dict[str, Any]]]


async def latency(stage: Stage, plan: Plan) -> Result:
    """Measure what the engine adds to an answer's time.

    rows: medians, by rate, then by contestant. late_p99_ms: how late the load sent; the other
    figures include it. The rest is for the higher rate:

    sync_ms: median of fdatasyncs back to back. added_ms: the engine's p50 minus the bare loop's.
    added_syncs: the same, divided by `sync_ms`. p99_over_direct: the engine's p99 over the direct
    call's.
    """

    async def over_nats(
        contestant: Contestant, rate: float, seconds: float, seed: int
    ) -> dict[str, Any]:
        return await stage.open_loop(contestant, rate, seconds, seed, channels=CHANNELS)

    async def direct(rate: float, seconds: float, seed: int) -> dict[str, Any]:
        pace = {"rate": rate, "seconds": seconds, "seed": seed}
        question = {"do": "open_loop", "model": LATENCY_MODEL, **pace}
        return await stage.ask_yardsticks(question, seconds + 30.0)

    async def sync(_: int) -> dict[str, Any]:
        return {"sync_ms": machine.sync_ms(stage.folder)}

    contestants: dict[str, MeasureSlice] = {
        "direct call": direct,
        "bare loop": partial(over_nats, stage.bare(LATENCY_MODEL)),
        "engine": partial(over_nats, stage.engine.by_request(LATENCY_MODEL)),
    }
    for each in contestants.values():
        await each(FAST, 2.0, 0)
    measures: dict[str, Callable[[int], Awaitable[dict[str, Any]]]] = {
        name: partial(each, FAST, plan.slice_s * 2) for name, each in contestants.items()
    }
    fast = await alternate({**measures, "syncs": sync}, plan.rounds)
    sync_ms = medians(fast.pop("syncs"), "sync_ms")["sync_ms"]
    slow_s = 4.0 if plan.quick else 10.0
    slow = {name: [await each(SLOW, slow_s, 1)] for name, each in contestants.items()}
    pairs = zip(column(fast["engine"], "p50_ms"), column(fast["bare loop"], "p50_ms"), strict=True)
    added_ms = [engine - bare for engine, bare in pairs]
    return {
        "rows": {
            str(rate): {
                name: medians(each, "p50_ms", "p99_ms", "late_p99_ms")
                for name, each in answers.items()
            }
            for rate, answers in ((FAST, fast), (SLOW, slow))
        },
        "sync_ms": sync_ms,
        "added_ms": spread(added_ms),
        "added_syncs": spread([each / sync_ms for each in added_ms]),
        "p99_over_direct": ratio("p99_ms", fast["engine"], fast["direct call"]),
    }


async def fairness(stage: Stage, plan: Plan) -> Result:
    """Measure quiet channels, medians of the rounds, "without" and "with" a busy channel.

    Two equal engines, each with a provider of few slots. In one of them a thousand commands always
    wait in one more channel.
    """

    async def measure(contestant: Contestant, seed: int) -> dict[str, Any]:
        return await stage.open_loop(contestant, FAIR_RATE, FAIR_SLICE_S, seed, channels=QUIET)

    calm_one, busy_one = (
        Variant(name, channels={"mailbox_limit": 2 * WAITING}, max_concurrency=FAIR_SLOTS)
        for name in ("fair-without", "fair-with")
    )
    async with stage.running(calm_one) as calm, stage.running(busy_one) as busy:
        flooded = busy.by_request(FAIR_MODEL)
        await stage.flood(flooded, WAITING)
        slices = {
            "without": partial(measure, calm.by_request(FAIR_MODEL)),
            "with": partial(measure, flooded),
        }
        for each in slices.values():
            await each(0)
        answers = await alternate(slices, plan.rounds)
        await stage.flood(flooded, 0)
    return {
        **{name: medians(each, "p50_ms", "p99_ms") for name, each in answers.items()},
        "p99_ratio": ratio("p99_ms", answers["with"], answers["without"]),
    }


async def overload(stage: Stage, plan: Plan) -> Result:
    """Measure answers and refusals when the provider cannot answer everything.

    Every message got exactly one outcome. rows: by the load, in times the capacity. longest: a long
    run at the highest one; rss_growth_mib: of its memory. over_capacity: its answers a second over
    how many the provider can give.
    """
    seconds, long_s = (2.5, 10.0) if plan.quick else (3.0, 60.0)
    limits = {"commands_limit": WAITING_LIMIT}
    variant = Variant("overloaded", channels=limits, max_concurrency=OVERLOAD_SLOTS)
    async with stage.running(variant) as engine:
        asked = engine.by_request(OVERLOAD_MODEL)

        async def offer(load: float, seconds: float) -> Result:
            rate, seed = load * CAPACITY, round(load * 100)
            more = {"channels": CHANNELS, "counted_from_s": SETTLING_S}
            return await stage.open_loop(asked, rate, seconds, seed, **more)

        async def rss_mib_after(seconds: float) -> float:
            await asyncio.sleep(seconds)
            return machine.rss_bytes(engine.process.pid) / machine.MIB

        await offer(0.5, 2.0)
        rows = {f"x{load:g}": await offer(load, seconds) for load in LOADS}
        # From when the queue is full: filling it may take memory, a steady flow may not.
        full = asyncio.create_task(rss_mib_after(2.0))
        longest = await offer(LOADS[-1], long_s)
        growth_mib = await rss_mib_after(0.0) - await full
    return {
        "rows": rows,
        "longest": longest,
        "rss_growth_mib": growth_mib,
        "over_capacity": longest["answered_a_second"] / CAPACITY,
    }
