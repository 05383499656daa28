"""The section `streams`: chunks of token streams a second, read and relayed.

Read: the engine's providers against `iter_any` with events split by hand, each alone in a process,
no NATS. Relayed: the whole durable engine, which sends the growing answer to `llm.stream` in pieces
joined for 50 ms, against a bare loop that does the same with NATS, and against the bare reading.
"""

from __future__ import annotations

import statistics
from contextlib import AsyncExitStack
from dataclasses import dataclass

from tests.bench import fake_provider
from tests.bench.children import Child, module, running
from tests.bench.closed_slices import WARM_UP_S, Load, Slice
from tests.bench.figures import Spread, ratios
from tests.bench.plan import Plan
from tests.bench.stage import Stage

STREAMS = 100
CHUNKS = 50
AT_ONCE = fake_provider.model(chunks=CHUNKS)
EACH_MS = 10
PACED = fake_provider.model(chunks=CHUNKS, each_ms=EACH_MS)
PACED_SLICE_S = 1.5
LIMIT_S = 60.0


@dataclass(frozen=True)
class Streams:
    """The results. chunks_a_second: medians, by contestant.

    assembled: the providers over the bare reading. relayed: the engine over the bare relay.
    relayed_over_reading: the engine over the bare reading. paced_cpu_us: processor time for a
    chunk if chunks arrive singly, every 10 ms in each of 100 streams.
    """

    rounds: int
    slice_s: float
    chunks_a_second: dict[str, float]
    assembled: Spread
    relayed: Spread
    relayed_over_reading: Spread
    deltas_an_answer: float
    paced_cpu_us: dict[str, float]


async def measure(stage: Stage, plan: Plan) -> Streams:
    async with AsyncExitStack() as stack:
        alone: dict[str, Child] = {}
        for name, way in (("bare reading", "bare"), ("providers", "providers")):
            command = module("assembling", way, stage.environment.provider_url)
            alone[name] = await stack.enter_async_context(running(name, command))
        relays = _relays(stage, AT_ONCE)
        for child in alone.values():
            await _measure_reading(child, WARM_UP_S / 2)
        for load in relays.values():
            await load.slice(stage, WARM_UP_S)
        chunks: dict[str, list[float]] = {name: [] for name in (*alone, *relays)}
        deltas: list[float] = []
        for number in range(plan.rounds):
            names = list(chunks)
            for name in reversed(names) if number % 2 else names:
                if name in alone:
                    chunks[name].append(await _measure_reading(alone[name], plan.slice_s))
                else:
                    each = await relays[name].slice(stage, plan.slice_s)
                    chunks[name].append(each.answers_a_second * CHUNKS)
                    if name == "engine":
                        deltas.append(each.deltas_an_answer)
    paced = await _paced(stage, plan)
    return Streams(
        rounds=plan.rounds,
        slice_s=plan.slice_s,
        chunks_a_second={name: statistics.median(each) for name, each in chunks.items()},
        assembled=ratios(chunks["providers"], chunks["bare reading"]),
        relayed=ratios(chunks["engine"], chunks["bare relay"]),
        relayed_over_reading=ratios(chunks["engine"], chunks["bare reading"]),
        deltas_an_answer=statistics.median(deltas),
        paced_cpu_us={
            name: statistics.median(each.cpu_us for each in slices) / CHUNKS
            for name, slices in paced.items()
        },
    )


def _relays(stage: Stage, model: str) -> dict[str, Load]:
    return {
        "bare relay": Load(stage.bare_relay(model), STREAMS, STREAMS),
        "engine": Load(stage.engine.by_request(model, stream=True), STREAMS, STREAMS),
    }


async def _paced(stage: Stage, plan: Plan) -> dict[str, list[Slice]]:
    relays = _relays(stage, PACED)
    slices: dict[str, list[Slice]] = {name: [] for name in relays}
    for _ in range(2 if plan.quick else 5):
        for name, load in relays.items():
            slices[name].append(await load.slice(stage, PACED_SLICE_S))
    return slices


async def _measure_reading(child: Child, seconds: float) -> float:
    question = {"model": AT_ONCE, "chunks": CHUNKS, "streams": STREAMS, "seconds": seconds}
    answer = await child.ask(question, seconds + LIMIT_S)
    return float(answer["chunks_a_second"])


def table(result: Streams) -> list[str]:
    rate, answer_s = result.chunks_a_second, result.paced_cpu_us["engine"] * CHUNKS / 1e6
    return [
        f"Token streams: {STREAMS} at once, {CHUNKS} chunks of 20 bytes each, as fast as they "
        f"arrive. {result.rounds} rounds, {result.slice_s:g} s for each in turn; medians.",
        "",
        "                                     chunks/s   ratio",
        f"bare reading, iter_any             {rate['bare reading']:10,.0f}",
        f"the engine's providers             {rate['providers']:10,.0f}   "
        f"{result.assembled:.2f} of the bare reading",
        f"bare relay to llm.stream, 50 ms    {rate['bare relay']:10,.0f}",
        f"engine, durable, relaying          {rate['engine']:10,.0f}   "
        f"{result.relayed:.2f} of the bare relay,",
        f"  {result.deltas_an_answer:.1f} deltas an answer               "
        f"            {result.relayed_over_reading:.2f} of the bare reading",
        "",
        f"Processor time for a chunk if chunks arrive singly, every {EACH_MS} ms (with the work of "
        "the whole turn):",
        ", ".join(f"{name} {cpu_us:.0f} us" for name, cpu_us in result.paced_cpu_us.items()),
        f"So a streamed answer costs the engine {answer_s * 1000:.1f} ms of processor time; one "
        f"core can do {1 / answer_s:,.0f} a second.",
    ]
