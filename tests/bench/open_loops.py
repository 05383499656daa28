"""The engine's sections in open loops: latency, pauses, fairness, overload."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tests.bench import machine
from tests.bench.figures import (
    Answers,
    Plan,
    Result,
    alternate,
    differences,
    medians,
    ratio,
    spread,
)
from tests.bench.stage import FAST_MODEL, Contestant, Stage, Variant

LATENCY_MODEL = "ms-50"
FAST, SLOW = 500, 1  # messages a second

FAIR_MODEL, FAIR_SLOTS = "ms-20", 8
FAIR_RATE = 200.0  # half of what the slots can do, so that quiet channels often wait for one
FAIR_SLICE_S = 1.5
QUIET, WAITING = 99, 1000
AT_ONCE = 40  # questions of one person, who may have 8

OVERLOAD_MODEL, OVERLOAD_SLOTS = "ms-100", 40
CAPACITY = OVERLOAD_SLOTS * 10  # answers a second
# As many as the provider answers in a second; `busy` is better than a longer wait.
WAITING_LIMIT = CAPACITY
LOADS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
SETTLING_S = 1.0

PAUSE_S = 5.0


async def latency(stage: Stage, plan: Plan) -> Result:
    """Measure what the engine adds to an answer's time.

    rows: medians, by rate, then by contestant. late_p99_ms: how late the load sent; the other
    figures include it. The rest is for the higher rate, see `added`; p99_over_direct: the engine's
    p99 over the direct call's.
    """
    contestants = {
        "direct call": stage.direct(LATENCY_MODEL),
        "bare loop": stage.bare(LATENCY_MODEL),
        "engine": stage.engine.by_request(LATENCY_MODEL),
    }
    fast = await paced(contestants, plan, stage.folder)
    slow_s = 4.0 if plan.quick else 10.0
    slow = {name: [await each.open_loop(SLOW, slow_s, 1)] for name, each in contestants.items()}
    keys = ("p50_ms", "p99_ms", "late_p99_ms")
    return {
        "rows": {
            str(rate): {name: medians(answers[name], *keys) for name in contestants}
            for rate, answers in ((FAST, fast), (SLOW, slow))
        },
        **added(fast, medians(fast["syncs"], "sync_ms")["sync_ms"]),
        "p99_over_direct": ratio("p99_ms", fast["engine"], fast["direct call"]),
    }


async def paced(
    contestants: Mapping[str, Contestant], plan: Plan, folder: Path
) -> dict[str, list[Result]]:
    """Measure slices with FAST messages a second, and beside them "syncs" of the disk."""

    async def measure(contestant: Contestant, seed: int) -> Result:
        return await contestant.open_loop(FAST, plan.slice_s * 2, seed)

    async def sync(_: int) -> Result:
        return {"sync_ms": machine.sync_ms(folder)}

    slices = {name: partial(measure, each) for name, each in contestants.items()}
    return await alternate({**slices, "syncs": sync}, plan.rounds, slices)


def added(slices: Mapping[str, Answers], sync_ms: float) -> Result:
    """Return what the engine adds to the bare loop's time.

    sync_ms: median of fdatasyncs back to back. added_ms: the engine's p50 minus the bare loop's.
    added_syncs: the same, divided by `sync_ms`.
    """
    added_ms = differences("p50_ms", slices["engine"], slices["bare loop"])
    return {
        "sync_ms": sync_ms,
        "added_ms": spread(added_ms),
        "added_syncs": spread([each / sync_ms for each in added_ms]),
    }


async def pauses(stage: Stage, plan: Plan) -> Result:
    """Count the connections that the provider sees when a channel speaks again after a pause."""
    asked, calls = stage.engine.by_request(FAST_MODEL), 2 if plan.quick else 5

    async def opened() -> int:
        await asked.visit(["pause"])
        found: int = (await stage.provider.ask("connections"))["opened"]
        return found

    before = await opened()
    for _ in range(calls):
        await asyncio.sleep(PAUSE_S)
        after = await opened()
    return {"calls": calls, "opened": after - before}


async def fairness(stage: Stage, plan: Plan) -> Result:
    """Measure quiet channels, medians of the rounds, "without" and "with" a busy channel.

    Equal engines, each with a provider of few slots. In the one "with", a thousand commands always
    wait in one more channel. In the one with a "flooder", one person asks too much in one more
    room; turns: the most of that person's turns that somebody else there waited for.
    """

    async def measure(contestant: Contestant, seed: int) -> Result:
        return await contestant.open_loop(FAIR_RATE, FAIR_SLICE_S, seed, QUIET)

    calm_one, busy_one = (
        Variant(name, channels={"mailbox_limit": 2 * WAITING}, max_concurrency=FAIR_SLOTS)
        for name in ("fair-without", "fair-with")
    )
    crowded_one = Variant("fair-flooder", max_concurrency=FAIR_SLOTS)
    async with (
        stage.running(calm_one) as calm,
        stage.running(busy_one) as busy,
        stage.running(crowded_one) as crowded,
    ):
        flooded, crowd = busy.by_request(FAIR_MODEL), crowded.by_request(FAIR_MODEL)
        await flooded.flood(WAITING)
        await crowd.crowd(AT_ONCE)
        slices = {
            "without": partial(measure, calm.by_request(FAIR_MODEL)),
            "with": partial(measure, flooded),
            "flooder": partial(measure, crowd),
        }
        answers = await alternate(slices, plan.rounds, slices)
        turns = await crowd.crowd(0)
        await flooded.flood(0)
    found: Result = {name: medians(each, "p50_ms", "p99_ms") for name, each in answers.items()}
    found["flooder"]["p99_ratio"] = ratio("p99_ms", answers["flooder"], answers["without"])
    found["flooder"]["turns"] = turns
    return {**found, "p99_ratio": ratio("p99_ms", answers["with"], answers["without"])}


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
            return await asked.open_loop(rate, seconds, seed, counted_from_s=SETTLING_S)

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
