"""The section `latency`: what the engine adds to an answer's time, in open loops."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from tests.bench import machine
from tests.bench.engines import Contestant
from tests.bench.figures import Result, column, medians, ratio, spread
from tests.bench.slices import Plan, alternate
from tests.bench.stage import Stage

MODEL = "ms-50"
CHANNELS = 200
FAST, SLOW, SLOWEST = 500, 50, 1  # messages a second
# The arguments are rate, seconds and seed.
MeasureSlice = Callable[[float, float, int], Coroutine[Any, Any, dict[str, Any]]]
Answers = dict[str, list[dict[str, Any]]]


async def measure(stage: Stage, plan: Plan) -> Result:
    """Measure open loops, counted from the moment when each message was due.

    rows: medians, by rate, then by contestant. late_p99_ms: how late the load sent; the other
    figures include it. The rest is for the highest rate:

    sync_ms: median of fdatasyncs back to back. paced_sync_ms: the same at the rate of the messages.
    added_ms: the engine's p50 minus the bare loop's. added_syncs: the same, divided by `sync_ms`.
    p99_over_direct: the engine's p99 over the direct call's.
    """
    contestants: dict[str, MeasureSlice] = {
        "direct call": partial(_direct, stage),
        "bare loop": partial(_over_nats, stage, stage.bare(MODEL)),
        "engine": partial(_over_nats, stage, stage.engine.by_request(MODEL)),
    }
    slice_s, folder = plan.slice_s * 2, stage.environment.folder
    syncs_ms: list[float] = []
    paced_ms: list[float] = []

    async def measure_syncs() -> None:
        syncs_ms.append(await asyncio.to_thread(machine.sync_ms, folder))
        paced_ms.append(await asyncio.to_thread(machine.sync_ms, folder, 1 / FAST))

    for measure_slice in contestants.values():
        await measure_slice(FAST, 2.0, 0)
    fast = await alternate(
        {name: partial(each, FAST, slice_s) for name, each in contestants.items()},
        plan.rounds,
        measure_syncs,
    )
    slow = await _measure_slow(contestants, 2 if plan.quick else 4)
    slowest = await _measure_slowest(contestants, 4.0 if plan.quick else 10.0)
    p50_ms = {name: column(fast[name], "p50_ms") for name in fast}
    pairs = zip(p50_ms["engine"], p50_ms["bare loop"], strict=True)
    added_ms = [engine - bare for engine, bare in pairs]
    sync_ms = statistics.median(syncs_ms)
    return {
        "rounds": plan.rounds,
        "slice_s": slice_s,
        "rows": {
            str(rate): {name: _row(name, each) for name, each in answers.items()}
            for rate, answers in ((FAST, fast), (SLOW, slow), (SLOWEST, slowest))
        },
        "sync_ms": sync_ms,
        "paced_sync_ms": statistics.median(paced_ms),
        "added_ms": spread(added_ms),
        "added_syncs": spread([each / sync_ms for each in added_ms]),
        "p99_over_direct": ratio("p99_ms", fast["engine"], fast["direct call"]),
    }


async def _measure_slow(contestants: dict[str, MeasureSlice], rounds: int) -> Answers:
    answers: Answers = {name: [] for name in contestants}
    for number in range(rounds):
        for name, measure_slice in contestants.items():
            answers[name].append(await measure_slice(SLOW, 1.5, number))
    return answers


async def _measure_slowest(contestants: dict[str, MeasureSlice], seconds: float) -> Answers:
    """Send one message a second; direct calls run beside the others, which they do not disturb."""
    async with asyncio.TaskGroup() as group:
        direct = group.create_task(contestants["direct call"](SLOWEST, seconds, 1))
        bare = await contestants["bare loop"](SLOWEST, seconds, 2)
        engine = await contestants["engine"](SLOWEST, seconds, 3)
    return {"direct call": [direct.result()], "bare loop": [bare], "engine": [engine]}


async def _over_nats(
    stage: Stage, contestant: Contestant, rate: float, seconds: float, seed: int
) -> dict[str, Any]:
    return await stage.ask(
        "open_loop", contestant, channels=CHANNELS, rate=rate, seconds=seconds, seed=seed
    )


async def _direct(stage: Stage, rate: float, seconds: float, seed: int) -> dict[str, Any]:
    question = {"do": "open_loop", "model": MODEL, "rate": rate, "seconds": seconds, "seed": seed}
    return await stage.direct.ask(question, seconds + 30.0)


def _row(name: str, answers: Sequence[dict[str, Any]]) -> Result:
    return {"name": name, **medians(answers, "p50_ms", "p99_ms", "late_p99_ms")}
