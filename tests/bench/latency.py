"""The section `latency`: what the engine adds to an answer's time, in open loops."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.bench import machine
from tests.bench.engines import Contestant
from tests.bench.figures import Spread, ratios, spread
from tests.bench.plan import Plan
from tests.bench.stage import Stage

MODEL, MODEL_MS = "ms-50", 50
CHANNELS = 200
RATES = (500, 50)
SLOW_RATE = 1
MeasureSlice = Callable[[float, float, int], Awaitable[dict[str, Any]]]  # rate, seconds, seed


@dataclass(frozen=True)
class LatencyRow:
    """Medians of the rounds, counted from the moment when each message was due.

    late_p99_ms: how late the load sent; the other figures include it.
    """

    name: str
    p50_ms: float
    p99_ms: float
    late_p99_ms: float


@dataclass(frozen=True)
class Latency:
    """The results. rows: by rate, then by contestant. The rest is for the highest rate.

    sync_ms: median of fdatasyncs back to back. paced_sync_ms: the same at the rate of the messages.
    added_ms: the engine's p50 minus the bare loop's. added_syncs: the same, divided by `sync_ms`.
    p99_over_direct: the engine's p99 over the direct call's.
    """

    rounds: int
    slice_s: float
    rows: dict[str, dict[str, LatencyRow]]
    sync_ms: float
    paced_sync_ms: float
    added_ms: Spread
    added_syncs: Spread
    p99_over_direct: Spread


async def measure(stage: Stage, plan: Plan) -> Latency:
    contestants: dict[str, MeasureSlice] = {
        "direct call": _direct(stage),
        "bare loop": _over_nats(stage, stage.bare(MODEL)),
        "engine": _over_nats(stage, stage.engine.by_request(MODEL)),
    }
    fast, slow = RATES
    slice_s = plan.slice_s * 2
    for measure_slice in contestants.values():
        await measure_slice(fast, 2.0, 0)
    syncs_ms: list[float] = []
    paced_ms: list[float] = []
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    order = list(contestants)
    for number in range(plan.rounds):
        for name in order:
            answers[name].append(await contestants[name](fast, slice_s, number))
        syncs_ms.append(await asyncio.to_thread(machine.sync_ms, stage.environment.folder))
        paced_ms.append(
            await asyncio.to_thread(machine.sync_ms, stage.environment.folder, 1 / fast)
        )
        order.reverse()
    slower = await _measure_slow(contestants, plan, slow)
    slowest = await _measure_slowest(contestants, plan)
    p50, p99 = _by_name(answers, "p50_ms"), _by_name(answers, "p99_ms")
    pairs = zip(p50["engine"], p50["bare loop"], strict=True)
    added_ms = [engine - bare for engine, bare in pairs]
    sync_ms = statistics.median(syncs_ms)
    return Latency(
        rounds=plan.rounds,
        slice_s=slice_s,
        rows={
            str(rate): {name: _row(name, each) for name, each in found.items()}
            for rate, found in ((fast, answers), (slow, slower), (SLOW_RATE, slowest))
        },
        sync_ms=sync_ms,
        paced_sync_ms=statistics.median(paced_ms),
        added_ms=spread(added_ms),
        added_syncs=spread([each / sync_ms for each in added_ms]),
        p99_over_direct=ratios(p99["engine"], p99["direct call"]),
    )


async def _measure_slow(
    contestants: dict[str, MeasureSlice], plan: Plan, rate: float
) -> dict[str, list[dict[str, Any]]]:
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    for number in range(2 if plan.quick else 4):
        for name, measure_slice in contestants.items():
            answers[name].append(await measure_slice(rate, 1.5, number))
    return answers


async def _measure_slowest(
    contestants: dict[str, MeasureSlice], plan: Plan
) -> dict[str, list[dict[str, Any]]]:
    """Send one message a second; direct calls run beside the others, which they do not disturb."""
    seconds = 4.0 if plan.quick else 10.0

    async def of(number: int, measure_slice: MeasureSlice) -> list[dict[str, Any]]:
        return [await measure_slice(SLOW_RATE, seconds, number)]

    answers: dict[str, list[dict[str, Any]]] = {}
    direct = asyncio.create_task(of(1, contestants["direct call"]))
    answers["bare loop"] = await of(2, contestants["bare loop"])
    answers["engine"] = await of(3, contestants["engine"])
    return {"direct call": await direct, **answers}


def _over_nats(stage: Stage, contestant: Contestant) -> MeasureSlice:
    async def measure_slice(rate: float, seconds: float, seed: int) -> dict[str, Any]:
        return await stage.ask(
            "open_loop", contestant, channels=CHANNELS, rate=rate, seconds=seconds, seed=seed
        )

    return measure_slice


def _direct(stage: Stage) -> MeasureSlice:
    async def measure_slice(rate: float, seconds: float, seed: int) -> dict[str, Any]:
        question = {"model": MODEL, "rate": rate, "seconds": seconds, "seed": seed}
        return await stage.direct.ask(question, seconds + 30.0)

    return measure_slice


def _by_name(answers: dict[str, list[dict[str, Any]]], figure: str) -> dict[str, list[float]]:
    return {name: [each[figure] for each in found] for name, found in answers.items()}


def _row(name: str, answers: list[dict[str, Any]]) -> LatencyRow:
    figures = ("p50_ms", "p99_ms", "late_p99_ms")
    return LatencyRow(
        name, *(statistics.median(each[figure] for each in answers) for figure in figures)
    )


def table(result: Latency) -> list[str]:
    lines = [
        f"Latency: messages on a schedule over {CHANNELS} channels, a provider that takes "
        f"{MODEL_MS} ms; counted from the moment",
        f"when each was due. {result.rounds} rounds, {result.slice_s:g} s for each in turn; "
        "medians. fdatasync between the slices:",
        f"p50 {result.sync_ms:.2f} ms back to back, {result.paced_sync_ms:.2f} ms at "
        f"{RATES[0]} a second.",
        "",
        "rate               direct call            bare loop               engine",
        "              p50       p99        p50       p99        p50       p99",
    ]
    for rate, rows in result.rows.items():
        figures = "   ".join(f"{row.p50_ms:7.2f} {row.p99_ms:7.2f} ms" for row in rows.values())
        lines.append(f"{rate:>5}/s   {figures}")
    return [
        *lines,
        "",
        f"At {RATES[0]}/s the engine adds {result.added_ms:.2f} ms to the bare loop's p50, "
        f"which is {result.added_syncs:.1f} fdatasyncs;",
        f"its p99 is {result.p99_over_direct:.3f} times the direct call's.",
    ]
