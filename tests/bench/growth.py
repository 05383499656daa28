"""The section `growth`: turns a second and memory with 10 to 10,000 channels."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench import machine
from tests.bench.closed_slices import Load, Row, Slice, row
from tests.bench.engines import FAST_MODEL, Variant
from tests.bench.plan import Plan
from tests.bench.stage import Stage

COUNTS = (10, 100, 1_000, 10_000)
IN_FLIGHT = 200
MESSAGES = 10  # in each channel's window
FILL_LIMIT_S = 320.0
MIB = 2**20


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
            rss_mib[count] = machine.rss_bytes(engine.process.pid) / MIB
        engines = {count: Load(asked, count, IN_FLIGHT) for count in counts}
        bares = {count: Load(bare, count, IN_FLIGHT) for count in counts}
        with_engine: dict[int, list[Slice]] = {count: [] for count in counts}
        with_bare: dict[int, list[Slice]] = {count: [] for count in counts}
        for _ in range(plan.rounds):
            for count in counts:
                with_bare[count].append(await bares[count].slice(stage, plan.slice_s))
                with_engine[count].append(await engines[count].slice(stage, plan.slice_s))
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


def table(result: Growth) -> list[str]:
    lines = [
        f"Growth with the number of channels: up to {IN_FLIGHT} messages in flight, a provider "
        "that answers at once.",
        f"{result.rounds} rounds, {result.slice_s:g} s for each in turn; medians; memory with "
        f"{MESSAGES} messages in each channel's window.",
        "",
        "channels   in flight   turns/s   ratio to bare loop   processor time/turn       p50   "
        "memory",
    ]
    lines += [
        f"{each.channels:8,} {each.in_flight:11} {each.engine.answers_a_second:9,.0f}   "
        f"{each.engine.ratio:.2f}   {each.engine.cpu_us:18.0f} us {each.engine.p50_ms:7.1f} ms "
        f"{each.rss_mib:5.0f} MiB"
        for each in result.rows.values()
    ]
    return lines
