"""The section `channels`: a message in each of many channels at once, until all are answered."""

from __future__ import annotations

import statistics

from tests.bench.engines import SLOW_MODEL, Contestant
from tests.bench.figures import Result
from tests.bench.slices import Plan
from tests.bench.stage import Stage

COUNTS = (10, 100, 1000)
BURST_LIMIT_S = 90.0


async def measure(stage: Stage, plan: Plan) -> Result:
    """Measure seconds until all channels were answered, medians of the rounds.

    measured: with how many channels one at a time ran; its other figures are calculated.
    gain: one at a time over the engine's streamed answers.
    """
    rounds, measured = (2, 10) if plan.quick else (5, 100)
    streamed = stage.engine.by_chat()
    whole = stage.engine.by_request(SLOW_MODEL)
    bare = stage.bare(SLOW_MODEL)
    contestants = [streamed, whole, bare]
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for count in COUNTS:
            for each in contestants:
                seconds.setdefault((each.name, count), []).append(await _burst(stage, each, count))
        contestants.reverse()
    # One measurement is enough: its time hardly varies.
    for_each_s = await _burst(stage, stage.one_at_a_time(SLOW_MODEL), measured) / measured

    def row(count: int) -> Result:
        streamed_s, whole_s, bare_s = (
            statistics.median(seconds[each.name, count]) for each in (streamed, whole, bare)
        )
        one_s = for_each_s * count
        return {
            "channels": count,
            "streamed_s": streamed_s,
            "whole_s": whole_s,
            "bare_s": bare_s,
            "one_at_a_time_s": one_s,
            "gain": one_s / streamed_s,
        }

    rows = {str(count): row(count) for count in COUNTS}
    return {"rounds": rounds, "measured": measured, "rows": rows}


async def _burst(stage: Stage, contestant: Contestant, channels: int) -> float:
    answer = await stage.ask("burst", contestant, channels=channels, limit_s=BURST_LIMIT_S)
    return float(answer["seconds"])
