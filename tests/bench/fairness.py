"""The section `fairness`: what a channel with a thousand waiting commands costs quiet channels.

Two equal engines, each with a provider of few slots; one of them always has the busy channel.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.bench.engines import Contestant, Variant
from tests.bench.figures import Result, medians, ratio
from tests.bench.slices import Plan, alternate
from tests.bench.stage import Stage

WAITING = 1000
QUIET = 99
SLOTS = 8
MODEL = "ms-20"
RATE = 200.0  # half of what the slots can do, so that quiet channels often wait for one
SLICE_S = 1.5
LIMITS = {"mailbox_limit": 2 * WAITING}


async def measure(stage: Stage, plan: Plan) -> Result:
    """Measure the quiet channels, medians of the rounds, "without" and "with" the busy one."""
    calm_one = Variant("fair without", channels=LIMITS, max_concurrency=SLOTS)
    busy_one = Variant("fair with", channels=LIMITS, max_concurrency=SLOTS)
    async with stage.another(calm_one) as calm, stage.another(busy_one) as busy:
        contestants = {"without": calm.by_request(MODEL), "with": busy.by_request(MODEL)}
        await stage.ask("flood", contestants["with"], waiting=WAITING)
        slices = {name: partial(_slice, stage, each) for name, each in contestants.items()}
        for measure_slice in slices.values():
            await measure_slice(0)
        answers = await alternate(slices, plan.rounds)
        await stage.ask("flood", contestants["with"], waiting=0)
    found = {name: medians(each, "p50_ms", "p99_ms") for name, each in answers.items()}
    return {
        "rounds": plan.rounds,
        "p50_ms": {name: each["p50_ms"] for name, each in found.items()},
        "p99_ms": {name: each["p99_ms"] for name, each in found.items()},
        "p99_ratio": ratio("p99_ms", answers["with"], answers["without"]),
    }


async def _slice(stage: Stage, contestant: Contestant, seed: int) -> dict[str, Any]:
    return await stage.ask(
        "open_loop", contestant, channels=QUIET, rate=RATE, seconds=SLICE_S, seed=seed
    )
