"""The section of the limits: what counting costs, and what others notice of a flood."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from tests.bench.closed_loops import loops
from tests.bench.figures import Plan, Result, alternate, medians, ratio, row
from tests.bench.stage import FAST_MODEL, Contestant, Stage, Variant

WINDOWS = ("user_per_minute", "user_per_hour", "user_per_day", "channel_per_minute")
MANY = dict.fromkeys(WINDOWS, 100_000_000)  # counted, and never reached
ONE = {"user_per_hour": 1}

FLOOD_MODEL = "ms-20"
FLOOD_RATE = 5000  # messages a second of one user, all but the first refused
OTHERS_RATE, OTHERS_SLICE_S = 200.0, 1.5
NAMELESS = "User"  # who gives no name has no limit of his own


async def limits(stage: Stage, plan: Plan) -> Result:
    """Measure turns a second with all limits on over all off, and others' p99 in a flood.

    ratio: with over without. calm, flooded: two equal engines; one gets FLOOD_RATE messages a
    second of one user, who is limited, while it is measured. p99_ratio: of the others.
    """
    counting, control = Variant("counting", limits=MANY), Variant("not-counting")
    async with stage.running(counting) as one, stage.running(control) as other:
        contestants = {
            "bare": stage.bare(FAST_MODEL),
            "with": one.by_request(FAST_MODEL),
            "without": other.by_request(FAST_MODEL),
        }
        slices = await loops(contestants, plan)
    return {
        **{name: row(found, slices["bare"]) for name, found in slices.items()},
        "ratio": ratio("answers_a_second", slices["with"], slices["without"]),
        "cpu_ratio": ratio("cpu_us", slices["without"], slices["with"]),
        **await _flood(stage, plan),
    }


async def _flood(stage: Stage, plan: Plan) -> Result:
    calm_one, flooded_one = (
        Variant(name, limits=ONE, unheard_errors=True) for name in ("calm", "flooded")
    )
    async with (
        stage.running(calm_one) as calm,
        stage.running(flooded_one) as flooded,
        stage.deaf_load() as flooder,
    ):
        asked = flooded.by_request(FLOOD_MODEL)
        await asked.visit(["flooded"])  # the one message that passes
        quiet, others = _nameless(calm.by_request(FLOOD_MODEL)), _nameless(asked)

        async def measure(contestant: Contestant, seed: int) -> Result:
            return await contestant.open_loop(OTHERS_RATE, OTHERS_SLICE_S, seed)

        async def in_a_flood(seed: int) -> Result:
            await flooder.ask("tell", how=asked.how, rate=FLOOD_RATE)
            try:
                return await measure(others, seed)
            finally:
                await flooder.ask("tell", how=asked.how, rate=0)
                await others.visit(["after"])  # all of the flood is refused by then

        both: dict[str, Callable[[int], Awaitable[Result]]] = {
            "calm": partial(measure, quiet),
            "flooded": in_a_flood,
        }
        answers = await alternate(both, plan.rounds, both)
    return {
        **{name: medians(each, "p50_ms", "p99_ms") for name, each in answers.items()},
        "p99_ratio": ratio("p99_ms", answers["flooded"], answers["calm"]),
    }


def _nameless(contestant: Contestant) -> Contestant:
    body = {**contestant.how["body"], "username": NAMELESS}
    return replace(contestant, how={**contestant.how, "body": body})
