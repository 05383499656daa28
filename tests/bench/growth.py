"""The section `growth`: turns a second and memory with 10 to 10,000 channels."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench import machine
from tests.bench.engines import FAST_MODEL, Variant
from tests.bench.slices import Plan, Row, Slice, row
from tests.bench.stage import Stage

COUNTS = (10, 100, 1_000, 10_000)
IN_FLIGHT = 200
MESSAGES = 10  # in each channel's window
FILL_LIMIT_S = 320.0


@dataclass(frozen=True)
class GrowthRow:
    """The figures for one number of channels. rss_mib: memory when all have a full window, idle."""

    channels: int
    in_flight: int
    rss_mib: float
    engine: Row
    bare: Row


@dataclass(frozen=True)
class Growth:
    """The results. rows: by channels; ratios to the bare loop with as many in flight."""

    rounds: int
    slice_s: float
    rows: dict[str, GrowthRow]


async def measure(stage: Stage, plan: Plan) -> Growth:
    counts = COUNTS[:3] if plan.quick else COUNTS
    async with stage.another(Variant("growing", channels={"resident_limit": 20_000})) as engine:
        asked, bare = engine.by_request(FAST_MODEL), stage.bare(FAST_MODEL)
        rss_mib: dict[int, float] = {}
        for count in counts:
            fill = {"channels": count, "in_flight": IN_FLIGHT, "each": MESSAGES // 2}
            await stage.ask("fill", asked, **fill, limit_s=FILL_LIMIT_S)
            rss_mib[count] = machine.rss_bytes(engine.process.pid) / machine.MIB
        with_engine: dict[int, list[Slice]] = {count: [] for count in counts}
        with_bare: dict[int, list[Slice]] = {count: [] for count in counts}
        for _ in range(plan.rounds):
            for count in counts:
                for contestant, slices in ((bare, with_bare), (asked, with_engine)):
                    loop = stage.closed_loop(contestant, count, IN_FLIGHT)
                    slices[count].append(await loop.slice(plan.slice_s))
    return Growth(
        rounds=plan.rounds,
        slice_s=plan.slice_s,
        rows={
            str(count): GrowthRow(
                channels=count,
                in_flight=min(count, IN_FLIGHT),
                rss_mib=rss_mib[count],
                engine=row("engine", with_engine[count], with_bare[count]),
                bare=row("bare loop", with_bare[count], with_bare[count]),
            )
            for count in counts
        },
    )
