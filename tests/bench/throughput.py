"""The section `throughput`: answers a second in a closed loop, with an instant provider."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.bench.engines import FAST_MODEL
from tests.bench.figures import Result, medians, ratio
from tests.bench.slices import WARM_UP_S, Plan, alternate, row
from tests.bench.stage import Stage

CHANNELS = 200


async def measure(stage: Stage, plan: Plan) -> Result:
    """Measure closed loops; ratios to the bare loop.

    over_plain: the engine over the plain way. busy: by contestant, the share of one core that each
    process used.
    """
    contestants = {
        "bare loop": stage.bare(FAST_MODEL),
        "engine": stage.engine.by_request(FAST_MODEL),
        "plain way": stage.plain.by_request(FAST_MODEL),
        "one at a time": stage.one_at_a_time(FAST_MODEL),
    }

    async def measure_slice(name: str, seconds: float, _: int = 0) -> dict[str, Any]:
        return await stage.closed_loop(contestants[name], CHANNELS, CHANNELS, seconds)

    for name in contestants:  # fills every channel's window and opens the connections
        await measure_slice(name, WARM_UP_S)
    slices = await alternate(
        {name: partial(measure_slice, name, plan.slice_s) for name in contestants}, plan.rounds
    )
    return {
        "rounds": plan.rounds,
        "slice_s": plan.slice_s,
        "rows": {name: row(name, each, slices["bare loop"]) for name, each in slices.items()},
        "over_plain": ratio("answers_a_second", slices["engine"], slices["plain way"]),
        "busy": {
            name: medians([each["busy"] for each in found], *found[0]["busy"])
            for name, found in slices.items()
        },
    }
