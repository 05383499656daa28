"""The section `growth`: turns a second and memory with 10 to 10,000 channels."""

from __future__ import annotations

from tests.bench import machine
from tests.bench.engines import FAST_MODEL, Variant
from tests.bench.figures import Result
from tests.bench.slices import Plan, row
from tests.bench.stage import Stage

COUNTS = (10, 100, 1_000, 10_000)
IN_FLIGHT = 200
MESSAGES = 10  # in each channel's window
FILL_LIMIT_S = 320.0


async def measure(stage: Stage, plan: Plan) -> Result:
    """Measure closed loops, ratios to the bare loop with as many in flight.

    rss_mib: memory when all channels have a full window, idle.
    """
    counts = COUNTS[:3] if plan.quick else COUNTS
    async with stage.another(Variant("growing", channels={"resident_limit": 20_000})) as engine:
        asked, bare = engine.by_request(FAST_MODEL), stage.bare(FAST_MODEL)
        rss_mib: dict[int, float] = {}
        for count in counts:
            fill = {"channels": count, "in_flight": IN_FLIGHT, "each": MESSAGES // 2}
            await stage.ask("fill", asked, **fill, limit_s=FILL_LIMIT_S)
            rss_mib[count] = machine.rss_bytes(engine.process.pid) / machine.MIB
        loops: dict[tuple[str, int], list[Result]] = {}
        for _ in range(plan.rounds):
            for count in counts:
                for name, each in (("bare loop", bare), ("engine", asked)):
                    found = await stage.closed_loop(each, count, IN_FLIGHT, plan.slice_s)
                    loops.setdefault((name, count), []).append(found)
    rows = {}
    for count in counts:
        with_bare, with_engine = loops["bare loop", count], loops["engine", count]
        rows[str(count)] = {
            "channels": count,
            "in_flight": min(count, IN_FLIGHT),
            "rss_mib": rss_mib[count],
            "engine": row("engine", with_engine, with_bare),
            "bare": row("bare loop", with_bare, with_bare),
        }
    return {"rounds": plan.rounds, "slice_s": plan.slice_s, "rows": rows}
