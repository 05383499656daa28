"""What the engine adds to an answer's time: an open loop at a fixed rate, in slices in turn."""

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
Sliced = Callable[[float, float, int], Awaitable[dict[str, Any]]]  # rate, seconds, seed


@dataclass(frozen=True)
class LatencyRow:
    """Medians of the rounds, from the moment at which the message was due.

    late_p99_ms: how late the load was, which is in the other figures.
    """

    name: str
    p50_ms: float
    p99_ms: float
    late_p99_ms: float


@dataclass(frozen=True)
class Latency:
    """rows: by the rate, then by contestant. The other figures are those of the highest rate.

    added_ms: the engine's p50 less the bare loop's; added_syncs: the same in fdatasyncs, whose
    median was `sync_ms`, and `paced_sync_ms` with as much between them as the engine leaves;
    p99_over_direct: the engine's p99 over that of direct calls.
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
    contestants: dict[str, Sliced] = {
        "direct call": _direct(stage),
        "bare loop": _over_nats(stage, stage.bare(MODEL)),
        "engine": _over_nats(stage, stage.engine.asked(MODEL)),
    }
    fast, slow = RATES
    slice_s = plan.slice_s * 2
    for sliced in contestants.values():
        await sliced(fast, 2.0, 0)
    syncs_ms: list[float] = []
    paced_ms: list[float] = []
    said: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    order = list(contestants)
    for number in range(plan.rounds):
        for name in order:
            said[name].append(await contestants[name](fast, slice_s, number))
        syncs_ms.append(await asyncio.to_thread(machine.sync_ms, stage.environment.folder))
        paced_ms.append(
            await asyncio.to_thread(machine.sync_ms, stage.environment.folder, 1 / fast)
        )
        order.reverse()
    slower = await _slower(contestants, plan, slow)
    slowest = await _slowest(contestants, plan)
    p50, p99 = _of(said, "p50_ms"), _of(said, "p99_ms")
    pairs = zip(p50["engine"], p50["bare loop"], strict=True)
    added_ms = [engine - bare for engine, bare in pairs]
    sync_ms = statistics.median(syncs_ms)
    return Latency(
        rounds=plan.rounds,
        slice_s=slice_s,
        rows={
            str(rate): {name: _row(name, each) for name, each in found.items()}
            for rate, found in ((fast, said), (slow, slower), (SLOW_RATE, slowest))
        },
        sync_ms=sync_ms,
        paced_sync_ms=statistics.median(paced_ms),
        added_ms=spread(added_ms),
        added_syncs=spread([each / sync_ms for each in added_ms]),
        p99_over_direct=ratios(p99["engine"], p99["direct call"]),
    )


async def _slower(
    contestants: dict[str, Sliced], plan: Plan, rate: float
) -> dict[str, list[dict[str, Any]]]:
    said: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    for number in range(2 if plan.quick else 4):
        for name, sliced in contestants.items():
            said[name].append(await sliced(rate, 1.5, number))
    return said


async def _slowest(contestants: dict[str, Sliced], plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """One message a second; the direct calls beside the others, since they do not disturb them."""
    seconds = 4.0 if plan.quick else 10.0

    async def of(number: int, sliced: Sliced) -> list[dict[str, Any]]:
        return [await sliced(SLOW_RATE, seconds, number)]

    said: dict[str, list[dict[str, Any]]] = {}
    direct = asyncio.create_task(of(1, contestants["direct call"]))
    said["bare loop"] = await of(2, contestants["bare loop"])
    said["engine"] = await of(3, contestants["engine"])
    return {"direct call": await direct, **said}


def _over_nats(stage: Stage, contestant: Contestant) -> Sliced:
    async def sliced(rate: float, seconds: float, seed: int) -> dict[str, Any]:
        return await stage.ask(
            "open_loop", contestant, channels=CHANNELS, rate=rate, seconds=seconds, seed=seed
        )

    return sliced


def _direct(stage: Stage) -> Sliced:
    async def sliced(rate: float, seconds: float, seed: int) -> dict[str, Any]:
        question = {"model": MODEL, "rate": rate, "seconds": seconds, "seed": seed}
        return await stage.direct.ask(question, seconds + 30.0)

    return sliced


def _of(said: dict[str, list[dict[str, Any]]], figure: str) -> dict[str, list[float]]:
    return {name: [each[figure] for each in found] for name, found in said.items()}


def _row(name: str, said: list[dict[str, Any]]) -> LatencyRow:
    figures = ("p50_ms", "p99_ms", "late_p99_ms")
    return LatencyRow(
        name, *(statistics.median(each[figure] for each in said) for figure in figures)
    )


def table(result: Latency) -> list[str]:
    lines = [
        f"Latency: messages on a schedule over {CHANNELS} channels, a provider that takes "
        f"{MODEL_MS} ms; from the moment at",
        f"which each was due. {result.rounds} rounds of {result.slice_s:g} s in turn; medians. "
        "fdatasync in between:",
        f"p50 {result.sync_ms:.2f} ms, one right after the other; {result.paced_sync_ms:.2f} ms, "
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
        f"At {RATES[0]}/s the engine adds to the bare loop's p50  {result.added_ms:.2f} ms, "
        f"which is {result.added_syncs:.1f} fdatasyncs;",
        f"its p99 is {result.p99_over_direct:.3f} of the direct call's.",
    ]
