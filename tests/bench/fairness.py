"""The section `fairness`: what a channel with a thousand waiting commands costs quiet channels.

Two equal engines, each with a provider of few slots; one of them always has the busy channel.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from tests.bench.engines import Contestant, Variant
from tests.bench.figures import Spread, ratios
from tests.bench.plan import Plan
from tests.bench.stage import Stage

WAITING = 1000
QUIET = 99
SLOTS = 8
MODEL, MODEL_MS = "ms-20", 20
RATE = 200.0  # half of what the slots can do, so that quiet channels often wait for one
SLICE_S = 1.5
LIMITS = {"mailbox_limit": 2 * WAITING}


@dataclass(frozen=True)
class Fairness:
    """Medians of the rounds, with the keys "without" and "with" (the busy channel)."""

    rounds: int
    p50_ms: dict[str, float]
    p99_ms: dict[str, float]
    p99_ratio: Spread


async def measure(stage: Stage, plan: Plan) -> Fairness:
    calm_one = Variant("fair without", channels=LIMITS, max_concurrency=SLOTS)
    busy_one = Variant("fair with", channels=LIMITS, max_concurrency=SLOTS)
    async with stage.another(calm_one) as calm, stage.another(busy_one) as busy:
        contestants = {"without": calm.by_request(MODEL), "with": busy.by_request(MODEL)}
        await stage.ask("flood", contestants["with"], waiting=WAITING)
        for each in contestants.values():
            await _slice(stage, each, 0)
        answers: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
        order = list(contestants)
        for number in range(plan.rounds):
            for name in order:
                answers[name].append(await _slice(stage, contestants[name], number))
            order.reverse()
        await stage.ask("flood", contestants["with"], waiting=0)
    p99 = {name: [each["p99_ms"] for each in found] for name, found in answers.items()}
    return Fairness(
        rounds=plan.rounds,
        p50_ms={
            name: statistics.median(each["p50_ms"] for each in found)
            for name, found in answers.items()
        },
        p99_ms={name: statistics.median(each) for name, each in p99.items()},
        p99_ratio=ratios(p99["with"], p99["without"]),
    )


async def _slice(stage: Stage, contestant: Contestant, seed: int) -> dict[str, Any]:
    return await stage.ask(
        "open_loop", contestant, channels=QUIET, rate=RATE, seconds=SLICE_S, seed=seed
    )


def table(result: Fairness) -> list[str]:
    return [
        f"Fairness: {QUIET} quiet channels, {RATE:g} messages a second together, a provider of "
        f"{SLOTS} slots and {MODEL_MS} ms;",
        f"with and without a busy channel in which {WAITING:,} commands always wait. "
        f"{result.rounds} rounds, {SLICE_S:g} s for each in turn; medians.",
        "",
        "quiet channels        p50         p99",
        *(
            f"{name:14} {result.p50_ms[name]:7.1f} ms  {result.p99_ms[name]:7.1f} ms"
            for name in result.p99_ms
        ),
        f"p99 with the busy channel over p99 without it: {result.p99_ratio:.2f}",
    ]
