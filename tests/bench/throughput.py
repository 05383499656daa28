"""The section `throughput`: answers a second in a closed loop, with an instant provider."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from tests.bench.engines import FAST_MODEL
from tests.bench.figures import Spread, ratios
from tests.bench.slices import WARM_UP_S, Plan, Row, Slice, alternate, rates, row
from tests.bench.stage import Stage

CHANNELS = 200


@dataclass(frozen=True)
class Throughput:
    """The results. rows: by contestant, ratios to the bare loop.

    over_plain: the engine over the plain way. busy: by contestant, the share of one core that each
    process used.
    """

    rounds: int
    slice_s: float
    rows: dict[str, Row]
    over_plain: Spread
    busy: dict[str, dict[str, float]]


async def measure(stage: Stage, plan: Plan) -> Throughput:
    contestants = {
        "bare loop": stage.bare(FAST_MODEL),
        "engine": stage.engine.by_request(FAST_MODEL),
        "plain way": stage.plain.by_request(FAST_MODEL),
        "one at a time": stage.one_at_a_time(FAST_MODEL),
    }
    loops = {
        name: stage.closed_loop(each, CHANNELS, CHANNELS) for name, each in contestants.items()
    }

    async def measure_slice(name: str, _: int) -> Slice:
        return await loops[name].slice(plan.slice_s)

    for loop in loops.values():  # fills every channel's window and opens the connections
        await loop.slice(WARM_UP_S)
    slices = await alternate({name: partial(measure_slice, name) for name in loops}, plan.rounds)
    return Throughput(
        rounds=plan.rounds,
        slice_s=plan.slice_s,
        rows={name: row(name, each, slices["bare loop"]) for name, each in slices.items()},
        over_plain=ratios(rates(slices["engine"]), rates(slices["plain way"])),
        busy={name: _busy(each) for name, each in slices.items()},
    )


def _busy(slices: Sequence[Slice]) -> dict[str, float]:
    return {who: statistics.median(each.busy[who] for each in slices) for who in slices[0].busy}
