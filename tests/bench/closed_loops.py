"""The engine's sections in closed loops: channels, throughput, streams, growth, indexing."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Any

from tests.bench import machine
from tests.bench.figures import Plan, Result, alternate, column, compare, medians, ratio, row
from tests.bench.stage import FAST_MODEL, SLOW_MODEL, Contestant, Stage, Variant

WARM_UP_S = 2.0
BURSTS = (10, 100, 1000)  # channels
IN_FLIGHT = 200
STREAMS, CHUNKS = 100, 50
AT_ONCE = f"ms-0-chunks-{CHUNKS}"
PACED = f"{AT_ONCE}-each-10"
PACED_SLICE_S = 1.5
READ_LIMIT_S = 60.0
GROWTH = (10, 100, 1_000, 10_000)  # channels
MESSAGES = 10  # in each channel's window
INDEX_WARM_UP_S = 6.0  # longer than until the first update of the index


async def channels(stage: Stage, plan: Plan) -> Result:
    """Measure seconds until a message in each of many channels at once is answered.

    one_at_a_time_s: calculated from one measurement, which is enough: its time hardly varies.
    """
    rounds, measured = (2, 10) if plan.quick else (5, 100)
    contestants = {
        "streamed_s": stage.engine.by_chat(),
        "whole_s": stage.engine.by_request(SLOW_MODEL),
        "bare_s": stage.bare(SLOW_MODEL),
    }

    async def burst(contestant: Contestant, count: int) -> float:
        names = [f"burst-{number}" for number in range(count)]
        seconds: float = (await stage.visit(contestant, names, at_once=count))["seconds"]
        return seconds

    async def bursts(contestant: Contestant, _: int) -> dict[int, float]:
        return {count: await burst(contestant, count) for count in BURSTS}

    slices = await alternate(
        {name: partial(bursts, each) for name, each in contestants.items()}, rounds
    )
    one_at_a_time_s = await burst(stage.one_at_a_time(SLOW_MODEL), measured) / measured
    return {
        "rows": {
            str(count): {
                "one_at_a_time_s": one_at_a_time_s * count,
                **{
                    name: statistics.median(each[count] for each in found)
                    for name, found in slices.items()
                },
            }
            for count in BURSTS
        }
    }


async def throughput(stage: Stage, plan: Plan) -> Result:
    """Measure answers a second with an instant provider; ratios to the bare loop.

    over_plain: the engine over the plain way. busy: by contestant, the share of one core that each
    process used.
    """
    contestants = {
        "bare loop": stage.bare(FAST_MODEL),
        "engine": stage.engine.by_request(FAST_MODEL),
        "plain way": stage.plain.by_request(FAST_MODEL),
        "one at a time": stage.one_at_a_time(FAST_MODEL),
    }
    slices = await take_turns(stage, contestants, IN_FLIGHT, plan)
    return {
        "rows": {name: row(each, slices["bare loop"]) for name, each in slices.items()},
        "over_plain": ratio("answers_a_second", slices["engine"], slices["plain way"]),
        "busy": {
            name: medians([each["busy"] for each in found], *found[0]["busy"])
            for name, found in slices.items()
        },
    }


async def take_turns(
    stage: Stage, contestants: Mapping[str, Contestant], at_once: int, plan: Plan
) -> dict[str, list[dict[str, Any]]]:
    """Measure slices with a message in each of `at_once` channels."""

    async def measure(contestant: Contestant, seconds: float, _: int) -> dict[str, Any]:
        return await stage.closed_loop(contestant, at_once, at_once, seconds)

    measures = {name: partial(measure, each) for name, each in contestants.items()}
    return await compare(measures, plan.rounds, plan.slice_s, WARM_UP_S)


async def streams(stage: Stage, plan: Plan) -> Result:
    """Measure chunks of token streams a second, medians by contestant, read and relayed.

    Read: the engine's providers against `iter_any` with events split by hand, in one process, no
    NATS. Relayed: the whole durable engine, which sends the growing answer to `llm.stream` in
    pieces joined for 50 ms, against a bare loop that does the same, and against the bare reading.

    assembled: the providers over the bare reading. relayed: the engine over the bare relay.
    relayed_over_reading: the engine over the bare reading. paced_cpu_us: processor time for a
    chunk if chunks arrive singly, every 10 ms in each of 100 streams.
    """
    key = "chunks_a_second"

    async def read(do: str, seconds: float, _: int) -> dict[str, Any]:
        question = {"do": do, "model": AT_ONCE, "chunks": CHUNKS, "streams": STREAMS}
        return await stage.ask_yardsticks({**question, "seconds": seconds}, READ_LIMIT_S)

    async def relay(contestant: Contestant, seconds: float, _: int) -> dict[str, Any]:
        found = await stage.closed_loop(contestant, STREAMS, STREAMS, seconds)
        return {key: found["answers_a_second"] * CHUNKS}

    contestants = {
        "bare reading": partial(read, "read_bare"),
        "providers": partial(read, "read_with_providers"),
        **{name: partial(relay, each) for name, each in _relays(stage, AT_ONCE).items()},
    }
    slices = await compare(contestants, plan.rounds, plan.slice_s, WARM_UP_S)
    paced_plan = Plan(2 if plan.quick else 5, PACED_SLICE_S)
    paced = await take_turns(stage, _relays(stage, PACED), STREAMS, paced_plan)
    return {
        key: {name: statistics.median(column(found, key)) for name, found in slices.items()},
        "assembled": ratio(key, slices["providers"], slices["bare reading"]),
        "relayed": ratio(key, slices["engine"], slices["bare relay"]),
        "relayed_over_reading": ratio(key, slices["engine"], slices["bare reading"]),
        "paced_cpu_us": {
            name: statistics.median(column(found, "cpu_us")) / CHUNKS
            for name, found in paced.items()
        },
    }


def _relays(stage: Stage, model: str) -> dict[str, Contestant]:
    engine = stage.engine.by_request(model, stream=True)
    return {"bare relay": stage.bare_relay(model), "engine": engine}


async def growth(stage: Stage, plan: Plan) -> Result:
    """Measure turns a second with 10 to 10,000 channels, ratios to the bare loop.

    rss_mib: memory when all channels have a full window, idle.
    """
    counts = GROWTH[:3] if plan.quick else GROWTH
    rss_mib: dict[int, float] = {}
    loops: dict[tuple[str, int], list[Result]] = defaultdict(list)
    async with stage.running(Variant("growing", channels={"resident_limit": 20_000})) as growing:
        contestants = {"bare": stage.bare(FAST_MODEL), "engine": growing.by_request(FAST_MODEL)}
        for count in counts:
            names = [f"loop-{number}" for number in range(count)]
            for _ in range(MESSAGES // 2):
                await stage.visit(contestants["engine"], names, min(IN_FLIGHT, count))
            rss_mib[count] = machine.rss_bytes(growing.process.pid) / machine.MIB
        for _ in range(plan.rounds):
            for count in counts:
                for name, each in contestants.items():
                    found = await stage.closed_loop(each, count, IN_FLIGHT, plan.slice_s)
                    loops[name, count].append(found)
    rows = {
        str(count): {
            "rss_mib": rss_mib[count],
            **{name: row(loops[name, count], loops["bare", count]) for name in contestants},
        }
        for count in counts
    }
    return {"rows": rows}


async def indexing(stage: Stage, plan: Plan) -> Result:
    """Measure turns a second with the full-text index kept up to date; ratios to without."""

    async def measure(engine: Contestant, seconds: float, _: int) -> dict[str, Any]:
        return await stage.closed_loop(engine, IN_FLIGHT, IN_FLIGHT, seconds)

    indexed, plain = (
        Variant(name, storage={"search_index": name == "indexing"})
        for name in ("indexing", "not-indexing")
    )
    async with stage.running(indexed) as one, stage.running(plain) as other:
        contestants = {
            "with": partial(measure, one.by_request(FAST_MODEL)),
            "without": partial(measure, other.by_request(FAST_MODEL)),
        }
        seconds = 1.0 if plan.quick else 2.0
        slices = await compare(contestants, plan.rounds, seconds, INDEX_WARM_UP_S)
    return {
        **{name: row(found, slices["without"]) for name, found in slices.items()},
        "ratio": ratio("answers_a_second", slices["with"], slices["without"]),
    }
