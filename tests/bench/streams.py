"""The section `streams`: chunks of token streams a second, read and relayed.

Read: the engine's providers against `iter_any` with events split by hand, each alone in a process,
no NATS. Relayed: the whole durable engine, which sends the growing answer to `llm.stream` in pieces
joined for 50 ms, against a bare loop that does the same with NATS, and against the bare reading.
"""

from __future__ import annotations

import statistics
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from tests.bench import fake_provider
from tests.bench.children import Child, module, running
from tests.bench.figures import Spread, ratios
from tests.bench.slices import WARM_UP_S, ClosedLoop, Plan, alternate
from tests.bench.stage import Stage

STREAMS = 100
CHUNKS = 50
AT_ONCE = fake_provider.model(chunks=CHUNKS)
PACED = fake_provider.model(chunks=CHUNKS, each_ms=10)
PACED_SLICE_S = 1.5
LIMIT_S = 60.0
READERS = {"bare reading": "read_bare", "providers": "read_with_providers"}


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
    relays, deltas = _relays(stage, AT_ONCE), list[float]()

    async def read(child: Child, do: str, seconds: float, _: int = 0) -> float:
        question = {"do": do, "model": AT_ONCE, "chunks": CHUNKS, "streams": STREAMS}
        answer = await child.ask({**question, "seconds": seconds}, seconds + LIMIT_S)
        return float(answer["chunks_a_second"])

    async def relay(name: str, _: int) -> float:
        found = await relays[name].slice(plan.slice_s)
        if name == "engine":
            deltas.append(found.deltas_an_answer)
        return found.answers_a_second * CHUNKS

    async with AsyncExitStack() as stack:
        command = module("direct", stage.environment.provider_url)
        alone = {name: await stack.enter_async_context(running(name, command)) for name in READERS}
        for name, child in alone.items():
            await read(child, READERS[name], WARM_UP_S / 2)
        for loop in relays.values():
            await loop.slice(WARM_UP_S)
        readers = {
            name: partial(read, child, READERS[name], plan.slice_s) for name, child in alone.items()
        }
        relaying = {name: partial(relay, name) for name in relays}
        chunks = await alternate({**readers, **relaying}, plan.rounds)
    return Streams(
        rounds=plan.rounds,
        slice_s=plan.slice_s,
        chunks_a_second={name: statistics.median(each) for name, each in chunks.items()},
        assembled=ratios(chunks["providers"], chunks["bare reading"]),
        relayed=ratios(chunks["engine"], chunks["bare relay"]),
        relayed_over_reading=ratios(chunks["engine"], chunks["bare reading"]),
        deltas_an_answer=statistics.median(deltas),
        paced_cpu_us=await _paced_cpu_us(stage, 2 if plan.quick else 5),
    )


def _relays(stage: Stage, model: str) -> dict[str, ClosedLoop]:
    relays = {
        "bare relay": stage.bare_relay(model),
        "engine": stage.engine.by_request(model, stream=True),
    }
    return {name: stage.closed_loop(each, STREAMS, STREAMS) for name, each in relays.items()}


async def _paced_cpu_us(stage: Stage, rounds: int) -> dict[str, float]:
    relays = _relays(stage, PACED)
    cpu_us: dict[str, list[float]] = {name: [] for name in relays}
    for _ in range(rounds):
        for name, loop in relays.items():
            cpu_us[name].append((await loop.slice(PACED_SLICE_S)).cpu_us)
    return {name: statistics.median(each) / CHUNKS for name, each in cpu_us.items()}
