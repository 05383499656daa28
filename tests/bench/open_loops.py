"""The engine's sections in open loops: latency, fairness, overload."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from tests.bench import machine
from tests.bench.figures import Answers, Plan, Result, alternate, column, medians, ratio, spread
from tests.bench.stage import Contestant, Stage, Variant

LATENCY_MODEL = "ms-50"
FAST, SLOW, SLOWEST = 500, 50, 1  # messages a second
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
MeasureSlice = Callable[[float, float, int], Coroutine[Any, Any, dict[str, Any]]]


async def latency(stage: Stage, plan: Plan) -> Result:
    """Measure what the engine adds to an answer's time.

    rows: medians, by rate, then by contestant. late_p99_ms: how late the load sent; the other
    figures include it. The rest is for the highest rate:

    sync_ms: median of fdatasyncs back to back. paced_sync_ms: the same at the rate of the messages.
    added_ms: the engine's p50 minus the bare loop's. added_syncs: the same, divided by `sync_ms`.
    p99_over_direct: the engine's p99 over the direct call's.
    """
    contestants: dict[str, MeasureSlice] = {
        "direct call": partial(_direct, stage),
        "bare loop": partial(_over_nats, stage, stage.bare(LATENCY_MODEL)),
        "engine": partial(_over_nats, stage, stage.engine.by_request(LATENCY_MODEL)),
    }
    for each in contestants.values():
        await each(FAST, 2.0, 0)
    at_fast = {name: partial(each, FAST, plan.slice_s * 2) for name, each in contestants.items()}
    fast = await alternate({**at_fast, "syncs": partial(_syncs, stage)}, plan.rounds)
    at_slow = {name: partial(each, SLOW, 1.5) for name, each in contestants.items()}
    slow = await alternate(at_slow, 2 if plan.quick else 4)
    slowest = await _slowest(contestants, 4.0 if plan.quick else 10.0)
    syncs = medians(fast.pop("syncs"), "sync_ms", "paced_sync_ms")
    p50_ms = {name: column(each, "p50_ms") for name, each in fast.items()}
    pairs = zip(p50_ms["engine"], p50_ms["bare loop"], strict=True)
    added_ms = [engine - bare for engine, bare in pairs]
    return {
        "rows": {str(FAST): _rows(fast), str(SLOW): _rows(slow), str(SLOWEST): _rows(slowest)},
        **syncs,
        "added_ms": spread(added_ms),
        "added_syncs": spread([each / syncs["sync_ms"] for each in added_ms]),
        "p99_over_direct": ratio("p99_ms", fast["engine"], fast["direct call"]),
    }


async def _slowest(contestants: dict[str, MeasureSlice], seconds: float) -> dict[str, Answers]:
    """Send one message a second; direct calls run beside the others, which they do not disturb."""
    async with asyncio.TaskGroup() as group:
        direct = group.create_task(contestants["direct call"](SLOWEST, seconds, 1))
        bare = await contestants["bare loop"](SLOWEST, seconds, 2)
        engine = await contestants["engine"](SLOWEST, seconds, 3)
    return {"direct call": [direct.result()], "bare loop": [bare], "engine": [engine]}


async def _over_nats(
    stage: Stage, contestant: Contestant, rate: float, seconds: float, seed: int
) -> dict[str, Any]:
    pace = {"channels": CHANNELS, "rate": rate, "seconds": seconds, "seed": seed}
    return await stage.around.ask("open_loop", contestant, **pace)


async def _direct(stage: Stage, rate: float, seconds: float, seed: int) -> dict[str, Any]:
    pace = {"rate": rate, "seconds": seconds, "seed": seed}
    question = {"do": "open_loop", "model": LATENCY_MODEL, **pace}
    return await stage.yardsticks.ask(question, seconds + 30.0)


async def _syncs(stage: Stage, _: int) -> dict[str, Any]:
    folder = stage.around.folder
    return {
        "sync_ms": await asyncio.to_thread(machine.sync_ms, folder),
        "paced_sync_ms": await asyncio.to_thread(machine.sync_ms, folder, 1 / FAST),
    }


def _rows(answers: Mapping[str, Answers]) -> Result:
    return {
        name: medians(each, "p50_ms", "p99_ms", "late_p99_ms") for name, each in answers.items()
    }


async def fairness(stage: Stage, plan: Plan) -> Result:
    """Measure quiet channels, medians of the rounds, "without" and "with" a busy channel.

    Two equal engines, each with a provider of few slots. In one of them a thousand commands always
    wait in one more channel.
    """
    around, limits = stage.around, {"mailbox_limit": 2 * WAITING}

    async def measure(contestant: Contestant, seed: int) -> dict[str, Any]:
        pace = {"channels": QUIET, "rate": FAIR_RATE, "seconds": FAIR_SLICE_S, "seed": seed}
        return await around.ask("open_loop", contestant, **pace)

    calm_one, busy_one = (
        Variant(name, channels=limits, max_concurrency=FAIR_SLOTS)
        for name in ("fair-without", "fair-with")
    )
    async with around.engine(calm_one) as calm, around.engine(busy_one) as busy:
        flooded = busy.by_request(FAIR_MODEL)
        await around.ask("flood", flooded, waiting=WAITING)
        slices = {
            "without": partial(measure, calm.by_request(FAIR_MODEL)),
            "with": partial(measure, flooded),
        }
        for each in slices.values():
            await each(0)
        answers = await alternate(slices, plan.rounds)
        await around.ask("flood", flooded, waiting=0)
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
    async with stage.around.engine(variant) as engine:

        async def offer(load: float, seconds: float) -> Result:
            return await stage.around.ask(
                "open_loop",
                engine.by_request(OVERLOAD_MODEL),
                channels=CHANNELS,
                rate=load * CAPACITY,
                seconds=seconds,
                seed=round(load * 100),
                counted_from_s=SETTLING_S,
                limit_s=seconds + 60.0,
            )

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
