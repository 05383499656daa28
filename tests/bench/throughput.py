"""The section `throughput`: answers a second in a closed loop, with an instant provider."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from tests.bench.closed_slices import WARM_UP_S, Load, Row, Slice, row
from tests.bench.engines import FAST_MODEL
from tests.bench.figures import Spread, ratios
from tests.bench.plan import Plan
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
    loads = {name: Load(each, CHANNELS, CHANNELS) for name, each in contestants.items()}
    for load in loads.values():  # fills every channel's window and opens the connections
        await load.slice(stage, WARM_UP_S)
    slices: dict[str, list[Slice]] = {name: [] for name in loads}
    order = list(loads)
    for _ in range(plan.rounds):
        for name in order:
            slices[name].append(await loads[name].slice(stage, plan.slice_s))
        order.reverse()
    return Throughput(
        rounds=plan.rounds,
        slice_s=plan.slice_s,
        rows={name: row(name, slices[name], slices["bare loop"]) for name in loads},
        over_plain=ratios(
            [each.answers_a_second for each in slices["engine"]],
            [each.answers_a_second for each in slices["plain way"]],
        ),
        busy={name: _busy(each) for name, each in slices.items()},
    )


def _busy(slices: list[Slice]) -> dict[str, float]:
    return {who: statistics.median(each.busy[who] for each in slices) for who in slices[0].busy}


def table(result: Throughput) -> list[str]:
    lines = [
        f"Answers a second: {CHANNELS} channels, one message in flight in each, a provider that "
        "answers at once,",
        "context of 10 messages of 200 bytes, whole answers. Engine: durability full, answered "
        "after the commit.",
        "Bare loop: NATS, orjson, one tuned POST, NATS; one process, no actors, no storage.",
        "Plain way: the same engine with aiosqlite, a commit for each write.",
        f"{result.rounds} rounds, {result.slice_s:g} s for each in turn; medians; the ratio is the "
        "median of the rounds' ratios, with quartiles.",
        "",
        "              answers/s   ratio to bare loop        p50       p99   processor time "
        "an answer, ratio",
    ]
    lines += [
        f"{row.name:13} {row.answers_a_second:9,.0f}   {row.ratio:5.2f}"
        f"   {row.p50_ms:10.1f} ms {row.p99_ms:6.1f} ms   {row.cpu_us:8.0f} us   "
        f"{row.cpu_ratio.median:.2f}"
        for row in result.rows.values()
    ]
    lines += [
        f"The engine answers {result.over_plain:.1f} times as many as the plain way.",
        "One at a time does not wait here, because this model answers at once; `channels` has a "
        "model that takes time.",
    ]
    for name, busy in result.busy.items():
        shares = ", ".join(f"{who} {share:.0%}" for who, share in busy.items() if share >= 0.01)
        lines.append(f"Share of one core, measuring {name}: {shares}")
    return lines
