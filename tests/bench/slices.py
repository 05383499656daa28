"""Slices: how many a run measures, in which order, and those of a closed loop with their median."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tests.bench.children import Child
from tests.bench.engines import Contestant
from tests.bench.figures import Spread, ratios

T = TypeVar("T")
WARM_UP_S = 2.0
SLICE_LIMIT_S = 180.0


@dataclass(frozen=True)
class Plan:
    """A plan of a run.

    rounds: how many slices each contestant gets. slice_s: seconds of a slice.
    quick: a run of a few minutes, with wider quartiles. full: also a database of ten million rows.
    """

    rounds: int = 11
    slice_s: float = 0.5
    quick: bool = False
    full: bool = False


QUICK = Plan(rounds=3, slice_s=0.4, quick=True)


async def alternate(
    contestants: Mapping[str, Callable[[int], Awaitable[T]]],
    rounds: int,
    after_each_round: Callable[[], Awaitable[None]] | None = None,
) -> dict[str, list[T]]:
    """Measure a slice of each contestant in turn, every other round in the opposite order.

    A contestant is a function that measures the slice of the round with this number.
    """
    slices: dict[str, list[T]] = {name: [] for name in contestants}
    order = list(contestants)
    for number in range(rounds):
        for name in order:
            slices[name].append(await contestants[name](number))
        if after_each_round is not None:
            await after_each_round()
        order.reverse()
    return slices


@dataclass(frozen=True)
class Slice:
    """The figures of one slice of a closed loop.

    cpu_us: processor time per answer of the contestant, with all its threads and children.
    busy: the share of one core that each process used; for the contestant this is the answers a
    second times `cpu_us`.
    """

    answers_a_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    deltas_an_answer: float
    busy: dict[str, float]


@dataclass(frozen=True)
class ClosedLoop:
    """A contestant and its load: `in_flight` messages at the same time over `channels`.

    load: the process that sends. pids: other processes whose processor time is of interest.
    """

    load: Child
    pids: Mapping[str, int]
    contestant: Contestant
    channels: int
    in_flight: int

    async def slice(self, seconds: float) -> Slice:
        """Measure one slice. Raise ChildFailed."""
        question = {
            **self.contestant.question("closed_loop"),
            "channels": self.channels,
            "in_flight": self.in_flight,
            "seconds": seconds,
            "pids": {**self.pids, "asked": self.contestant.process.pid},
        }
        answer = await self.load.ask(question, SLICE_LIMIT_S)
        rate, busy = answer["answers_a_second"], answer["busy"]
        return Slice(
            answers_a_second=rate,
            p50_ms=answer["p50_ms"],
            p99_ms=answer["p99_ms"],
            cpu_us=busy.pop("asked") / rate * 1e6,
            deltas_an_answer=answer["deltas"] / answer["answers"],
            busy=busy,
        )


@dataclass(frozen=True)
class Row:
    """Medians of a contestant's slices.

    ratio: its rate over the yardstick's, round by round. cpu_ratio: the yardstick's processor time
    over its own: the ratio if only the processor counted, which holds on a busy machine too.
    """

    name: str
    answers_a_second: float
    ratio: Spread
    p50_ms: float
    p99_ms: float
    cpu_us: float
    cpu_ratio: Spread
    deltas_an_answer: float


def row(name: str, slices: Sequence[Slice], yardstick: Sequence[Slice]) -> Row:
    return Row(
        name=name,
        answers_a_second=statistics.median(rates(slices)),
        ratio=ratios(rates(slices), rates(yardstick)),
        p50_ms=statistics.median(each.p50_ms for each in slices),
        p99_ms=statistics.median(each.p99_ms for each in slices),
        cpu_us=statistics.median(each.cpu_us for each in slices),
        cpu_ratio=ratios([each.cpu_us for each in yardstick], [each.cpu_us for each in slices]),
        deltas_an_answer=statistics.median(each.deltas_an_answer for each in slices),
    )


def rates(slices: Sequence[Slice]) -> list[float]:
    return [each.answers_a_second for each in slices]
