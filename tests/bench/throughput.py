"""Answers a second: a closed loop over many channels at a provider that answers at once."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from time import perf_counter

from tests.bench import machine
from tests.bench.stage import FAST_MODEL, Contestant, Stage

CHANNELS = 200
WARM_UP_S = 2.0
ANSWER_LIMIT_S = 60.0


@dataclass(frozen=True)
class Slice:
    answers_a_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


@dataclass(frozen=True)
class ThroughputRow:
    """Medians over the rounds; `ratio` is that of the per-round ratios to the bare loop.

    cpu_us: processor time of the contestant's process for each answer, all its threads.
    """

    name: str
    answers_a_second: float
    ratio: float
    ratio_quartiles: tuple[float, float]
    p50_ms: float
    p99_ms: float
    cpu_us: float


@dataclass(frozen=True)
class Throughput:
    """`busy` is how much of one core each process used while the contestants were measured."""

    rows: list[ThroughputRow]
    busy: dict[str, dict[str, float]]


async def measure(stage: Stage, rounds: int, slice_s: float) -> Throughput:
    bare, engine = stage.bare(FAST_MODEL), stage.whole(FAST_MODEL)
    contestants = [bare, engine]
    for each in contestants:  # fills every channel's window, and opens the connections
        await _slice(stage, each, WARM_UP_S)
    slices: dict[str, list[Slice]] = {each.name: [] for each in contestants}
    busy: dict[str, list[dict[str, float]]] = {each.name: [] for each in contestants}
    for _ in range(rounds):
        for each in contestants:
            began, before = perf_counter(), stage.cpu_s()
            slices[each.name].append(await _slice(stage, each, slice_s))
            took_s, after = perf_counter() - began, stage.cpu_s()
            busy[each.name].append({name: (after[name] - before[name]) / took_s for name in after})
        contestants.reverse()
    yardstick = [each.answers_a_second for each in slices[bare.name]]
    return Throughput(
        rows=[_row(name, slices[name], yardstick) for name in (bare.name, engine.name)],
        busy={name: _mean(each) for name, each in busy.items()},
    )


async def _slice(stage: Stage, contestant: Contestant, seconds: float) -> Slice:
    question = {
        "do": "closed_loop",
        "subject": contestant.subject,
        "body": contestant.body,
        "channels": CHANNELS,
        "seconds": seconds,
    }
    before = machine.cpu_s(contestant.process.pid)
    said = await stage.load.ask(question, seconds + ANSWER_LIMIT_S)
    used = machine.cpu_s(contestant.process.pid) - before
    # Those in flight when the slice ended were worked on as well, and are not counted.
    worked_on = said["answers"] + CHANNELS
    return Slice(said["answers_a_second"], said["p50_ms"], said["p99_ms"], used / worked_on * 1e6)


def _row(name: str, slices: list[Slice], yardstick: list[float]) -> ThroughputRow:
    pairs = zip(slices, yardstick, strict=True)
    low, middle, high = statistics.quantiles(
        [each.answers_a_second / bare for each, bare in pairs], n=4, method="inclusive"
    )
    return ThroughputRow(
        name=name,
        answers_a_second=statistics.median(each.answers_a_second for each in slices),
        ratio=middle,
        ratio_quartiles=(low, high),
        p50_ms=statistics.median(each.p50_ms for each in slices),
        p99_ms=statistics.median(each.p99_ms for each in slices),
        cpu_us=statistics.fmean(each.cpu_us for each in slices),
    )


def _mean(busy: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.fmean(each[name] for each in busy) for name in busy[0]}


def table(throughput: Throughput, rounds: int, slice_s: float) -> list[str]:
    lines = [
        f"Answers a second: {CHANNELS} channels, one message of each in flight, a provider that "
        "answers at once,",
        "context of 10 messages of 200 bytes, whole answers. Engine: durability full, answered "
        "after the commit.",
        "Bare loop: NATS, orjson, one tuned POST, NATS; one process, no actors, no storage.",
        f"{rounds} rounds of {slice_s:g} s each in turn; medians; the ratio is the median of the "
        "rounds' ratios, with quartiles.",
        "",
        "             answers/s   ratio to bare loop        p50       p99   processor time/answer",
    ]
    for row in throughput.rows:
        low, high = row.ratio_quartiles
        lines.append(
            f"{row.name:12} {row.answers_a_second:9,.0f}   {row.ratio:5.2f} [{low:.2f}-{high:.2f}]"
            f"   {row.p50_ms:10.1f} ms {row.p99_ms:6.1f} ms   {row.cpu_us:8.0f} us"
        )
    for name, busy in throughput.busy.items():
        shares = ", ".join(f"{who} {share:.0%}" for who, share in busy.items() if share >= 0.01)
        lines.append(f"Busy while {name} was measured, of one core: {shares}")
    return lines
