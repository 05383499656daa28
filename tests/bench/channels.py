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
    contestants = {
        "streamed_s": stage.engine.by_chat(),
        "whole_s": stage.engine.by_request(SLOW_MODEL),
        "bare_s": stage.bare(SLOW_MODEL),
    }
    order, seconds = list(contestants), dict[tuple[str, int], list[float]]()
    for _ in range(rounds):
        for count in COUNTS:
            for name in order:
                taken_s = await _burst(stage, contestants[name], count)
                seconds.setdefault((name, count), []).append(taken_s)
        order.reverse()
    # One measurement is enough: its time hardly varies.
    for_each_s = await _burst(stage, stage.one_at_a_time(SLOW_MODEL), measured) / measured

    def row(count: int) -> Result:
        medians = {name: statistics.median(seconds[name, count]) for name in contestants}
        one_s = for_each_s * count
        gain = one_s / medians["streamed_s"]
        return {"channels": count, **medians, "one_at_a_time_s": one_s, "gain": gain}

    rows = {str(count): row(count) for count in COUNTS}
    return {"rounds": rounds, "measured": measured, "rows": rows}


async def _burst(stage: Stage, contestant: Contestant, channels: int) -> float:
    answer = await stage.ask("burst", contestant, channels=channels, limit_s=BURST_LIMIT_S)
    return float(answer["seconds"])
