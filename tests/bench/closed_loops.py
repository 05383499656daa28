"""The engine's sections in closed loops: channels, throughput, streams, growth, indexing."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping
from functools import partial

from tests.bench import machine
from tests.bench.figures import (
    Answers,
    Plan,
    Result,
    Spread,
    alternate,
    differences,
    medians,
    ratio,
    row,
    spread,
)
from tests.bench.stage import CHANNELS, FAST_MODEL, SLOW_MODEL, Contestant, Stage, Variant

WARM_UP_S = 2.0
BURSTS = (10, 100, 1000)  # channels
STREAMS, CHUNKS = 100, 50
AT_ONCE, FIRST_AT_ONCE = f"ms-0-chunks-{CHUNKS}", "ms-0-chunks-1"
# Each takes as long, so that as many turns are busy at the same time.
PACED, FIRST_PACED = f"{AT_ONCE}-each-10", f"ms-{(CHUNKS - 1) * 10}-chunks-1"
PACED_SLICE_S = 1.5
GROWTH = (10, 100, 1_000, 10_000)  # channels
MESSAGES = 10  # in each channel's window
INDEX_WARM_UP_S = 6.0  # longer than until the first update of the index


async def loops(
    contestants: Mapping[str, Contestant],
    plan: Plan,
    at_once: int = CHANNELS,
    warm_up_s: float = WARM_UP_S,
) -> dict[str, list[Result]]:
    """Measure slices with a message in each of `at_once` channels."""

    async def measure(contestant: Contestant, seconds: float, _: int) -> Result:
        return await contestant.closed_loop(seconds, at_once)

    slices, warm_up = (
        {name: partial(measure, each, seconds) for name, each in contestants.items()}
        for seconds in (plan.slice_s, warm_up_s)
    )
    return await alternate(slices, plan.rounds, warm_up)


async def channels(stage: Stage, plan: Plan) -> Result:
    """Measure seconds until a message in each of many channels at once is answered.

    default_s: by an engine with the file that the project comes with.
    one_at_a_time_s: calculated from one measurement, which is enough: its time hardly varies.
    """
    rounds, measured = (2, 10) if plan.quick else (5, 100)

    async def burst(contestant: Contestant, count: int) -> float:
        names = [f"burst-{number}" for number in range(count)]
        seconds: float = (await contestant.visit(names, at_once=count))["seconds"]
        return seconds

    async def bursts(contestant: Contestant, _: int) -> Result:
        return {str(count): await burst(contestant, count) for count in BURSTS}

    async with stage.running(Variant("default-file", default_file=True)) as default:
        contestants = {
            "default_s": default.by_chat(),
            "streamed_s": stage.engine.by_chat(),
            "whole_s": stage.engine.by_request(SLOW_MODEL),
            "bare_s": stage.bare(SLOW_MODEL),
        }
        slices = await alternate(
            {name: partial(bursts, each) for name, each in contestants.items()}, rounds
        )
    one_at_a_time_s = await burst(stage.one_at_a_time(SLOW_MODEL), measured) / measured
    seconds = {name: medians(found, *map(str, BURSTS)) for name, found in slices.items()}
    seconds["one_at_a_time_s"] = {str(count): one_at_a_time_s * count for count in BURSTS}
    return {"rows": {n: {name: seconds[name][n] for name in seconds} for n in map(str, BURSTS)}}


async def throughput(stage: Stage, plan: Plan) -> Result:
    """Measure answers a second with an instant provider; ratios to the bare loop.

    streamed: the engine with token streams over itself with whole answers. over_plain: the engine
    over the plain way. busy: by contestant, the share of one core that each process used.
    """
    contestants = {
        "bare loop": stage.bare(FAST_MODEL),
        "engine": stage.engine.by_request(FAST_MODEL),
        "engine, streamed": stage.engine.by_request(FAST_MODEL, stream=True),
        "plain way": stage.plain.by_request(FAST_MODEL),
        "one at a time": stage.one_at_a_time(FAST_MODEL),
    }
    slices = await loops(contestants, plan)
    key = "answers_a_second"
    return {
        "rows": {name: row(each, slices["bare loop"]) for name, each in slices.items()},
        "streamed": ratio(key, slices["engine, streamed"], slices["engine"]),
        "streamed_cpu": ratio("cpu_us", slices["engine"], slices["engine, streamed"]),
        "over_plain": ratio(key, slices["engine"], slices["plain way"]),
        "busy": {
            name: medians([each["busy"] for each in found], *found[0]["busy"])
            for name, found in slices.items()
        },
    }


async def streams(stage: Stage, plan: Plan) -> Result:
    """Measure chunks of token streams a second, medians by contestant, read and relayed.

    Read: the engine's providers against `iter_any` with events split by hand, in one process, no
    NATS. Relayed: the whole durable engine, which sends the growing answer to `llm.stream` in
    pieces joined for 50 ms, against a bare loop that does the same, and against the bare reading.

    assembled: the providers over the bare reading. relayed: the engine over the bare relay.
    relayed_over_reading: the engine over the bare reading. paced: the chunks arrive singly, every
    10 ms in each of 100 streams; at_once: all together, so that one read has many. There:
    cpu_us: processor time for a chunk, with its share of the turn. chunk_us: of each chunk after
    the first; first_us: of a turn with one chunk. over_bare: the bare relay's chunk_us over it.
    """
    reading = {
        "bare reading": stage.direct(AT_ONCE, "stream"),
        "providers": stage.direct(AT_ONCE, "providers"),
    }
    at_once = await loops(
        {**reading, **_relays(stage, AT_ONCE, FIRST_AT_ONCE)}, plan, at_once=STREAMS
    )
    paced_plan = Plan(2 if plan.quick else 5, PACED_SLICE_S)
    paced = await loops(_relays(stage, PACED, FIRST_PACED), paced_plan, at_once=STREAMS)
    rates = {name: medians(found, "answers_a_second") for name, found in at_once.items()}
    key, engine = "answers_a_second", at_once["engine"]
    return {
        "chunks_a_second": {
            name: rates[name][key] * CHUNKS for name in (*reading, "bare relay", "engine")
        },
        "assembled": ratio(key, at_once["providers"], at_once["bare reading"]),
        "relayed": ratio(key, engine, at_once["bare relay"]),
        "relayed_over_reading": ratio(key, engine, at_once["bare reading"]),
        "paced": _chunks(paced),
        "at_once": _chunks(at_once),
    }


def _relays(stage: Stage, model: str, first: str) -> dict[str, Contestant]:
    """Return the contestants that relay, also a stream with the first chunk alone."""
    return {
        "bare relay": stage.bare_relay(model),
        "bare relay, first": stage.bare_relay(first),
        "engine": stage.engine.by_request(model, stream=True),
        "engine, first": stage.engine.by_request(first, stream=True),
    }


def _chunks(slices: Mapping[str, Answers]) -> Result:
    """Tell the cost of each chunk after the first from that of the turn."""

    def more(name: str) -> list[float]:
        taken_us = differences("cpu_us", slices[name], slices[f"{name}, first"])
        return [each / (CHUNKS - 1) for each in taken_us]

    own, bare = more("engine"), more("bare relay")
    found: Result = {
        name: {
            "cpu_us": medians(slices[name], "cpu_us")["cpu_us"] / CHUNKS,
            "chunk_us": statistics.median(each),
            "first_us": medians(slices[f"{name}, first"], "cpu_us")["cpu_us"],
        }
        for name, each in (("engine", own), ("bare relay", bare))
    }
    over_bare: Spread = spread([one / other for one, other in zip(bare, own, strict=True)])
    return {**found, "over_bare": over_bare}


async def growth(stage: Stage, plan: Plan) -> Result:
    """Measure turns a second with 10 to 10,000 channels, ratios to the bare loop.

    rss_mib: memory when all channels have a full window, idle.
    """
    counts = GROWTH[:3] if plan.quick else GROWTH
    rss_mib: dict[int, float] = {}
    found: dict[tuple[str, int], list[Result]] = defaultdict(list)
    async with stage.running(Variant("growing", channels={"resident_limit": 20_000})) as growing:
        contestants = {"bare": stage.bare(FAST_MODEL), "engine": growing.by_request(FAST_MODEL)}
        for count in counts:
            names = [f"loop-{number}" for number in range(count)]
            for _ in range(MESSAGES // 2):
                await contestants["engine"].visit(names, min(CHANNELS, count))
            rss_mib[count] = machine.rss_bytes(growing.process.pid) / machine.MIB
        for _ in range(plan.rounds):
            for count in counts:
                for name, each in contestants.items():
                    loop = await each.closed_loop(plan.slice_s, CHANNELS, channels=count)
                    found[name, count].append(loop)
    rows = {
        str(count): {
            "rss_mib": rss_mib[count],
            **{name: row(found[name, count], found["bare", count]) for name in contestants},
        }
        for count in counts
    }
    return {"rows": rows}


async def indexing(stage: Stage, plan: Plan) -> Result:
    """Measure turns a second with the full-text index kept up to date; ratios to without."""
    indexed, control = (
        Variant(name, storage={"search_index": name == "indexing"})
        for name in ("indexing", "not-indexing")
    )
    async with stage.running(indexed) as one, stage.running(control) as other:
        contestants = {
            "bare": stage.bare(FAST_MODEL),
            "with": one.by_request(FAST_MODEL),
            "without": other.by_request(FAST_MODEL),
        }
        longer = Plan(plan.rounds, 1.0 if plan.quick else 2.0)
        slices = await loops(contestants, longer, warm_up_s=INDEX_WARM_UP_S)
    return {
        **{name: row(found, slices["bare"]) for name, found in slices.items()},
        "ratio": ratio("answers_a_second", slices["with"], slices["without"]),
    }
