"""The section `streams`: chunks of token streams a second, read and relayed.

Read: the engine's providers against `iter_any` with events split by hand, each alone in a process,
no NATS. Relayed: the whole durable engine, which sends the growing answer to `llm.stream` in pieces
joined for 50 ms, against a bare loop that does the same with NATS, and against the bare reading.
"""

from __future__ import annotations

import statistics
from contextlib import AsyncExitStack
from functools import partial

from tests.bench import fake_provider
from tests.bench.children import Child, module, running
from tests.bench.engines import Contestant
from tests.bench.figures import Result, ratios
from tests.bench.slices import WARM_UP_S, Plan, alternate
from tests.bench.stage import Stage

STREAMS = 100
CHUNKS = 50
AT_ONCE = fake_provider.model(chunks=CHUNKS)
PACED = fake_provider.model(chunks=CHUNKS, each_ms=10)
PACED_SLICE_S = 1.5
LIMIT_S = 60.0
READERS = {"bare reading": "read_bare", "providers": "read_with_providers"}


async def measure(stage: Stage, plan: Plan) -> Result:
    """Measure chunks a second, medians by contestant.

    assembled: the providers over the bare reading. relayed: the engine over the bare relay.
    relayed_over_reading: the engine over the bare reading. paced_cpu_us: processor time for a
    chunk if chunks arrive singly, every 10 ms in each of 100 streams.
    """
    relays, deltas = _relays(stage, AT_ONCE), list[float]()

    async def read(child: Child, do: str, seconds: float, _: int = 0) -> float:
        question = {"do": do, "model": AT_ONCE, "chunks": CHUNKS, "streams": STREAMS}
        answer = await child.ask({**question, "seconds": seconds}, seconds + LIMIT_S)
        return float(answer["chunks_a_second"])

    async def relay(name: str, _: int) -> float:
        found = await stage.closed_loop(relays[name], STREAMS, STREAMS, plan.slice_s)
        if name == "engine":
            deltas.append(found["deltas_an_answer"])
        return float(found["answers_a_second"]) * CHUNKS

    async with AsyncExitStack() as stack:
        command = module("direct", stage.environment.provider_url)
        alone = {name: await stack.enter_async_context(running(name, command)) for name in READERS}
        for name, child in alone.items():
            await read(child, READERS[name], WARM_UP_S / 2)
        for each in relays.values():
            await stage.closed_loop(each, STREAMS, STREAMS, WARM_UP_S)
        readers = {
            name: partial(read, child, READERS[name], plan.slice_s) for name, child in alone.items()
        }
        relaying = {name: partial(relay, name) for name in relays}
        chunks = await alternate({**readers, **relaying}, plan.rounds)
    return {
        "rounds": plan.rounds,
        "slice_s": plan.slice_s,
        "chunks_a_second": {name: statistics.median(found) for name, found in chunks.items()},
        "assembled": ratios(chunks["providers"], chunks["bare reading"]),
        "relayed": ratios(chunks["engine"], chunks["bare relay"]),
        "relayed_over_reading": ratios(chunks["engine"], chunks["bare reading"]),
        "deltas_an_answer": statistics.median(deltas),
        "paced_cpu_us": await _paced_cpu_us(stage, 2 if plan.quick else 5),
    }


def _relays(stage: Stage, model: str) -> dict[str, Contestant]:
    return {
        "bare relay": stage.bare_relay(model),
        "engine": stage.engine.by_request(model, stream=True),
    }


async def _paced_cpu_us(stage: Stage, rounds: int) -> dict[str, float]:
    relays = _relays(stage, PACED)
    cpu_us: dict[str, list[float]] = {name: [] for name in relays}
    for _ in range(rounds):
        for name, each in relays.items():
            found = await stage.closed_loop(each, STREAMS, STREAMS, PACED_SLICE_S)
            cpu_us[name].append(found["cpu_us"])
    return {name: statistics.median(each) / CHUNKS for name, each in cpu_us.items()}
