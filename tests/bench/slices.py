"""Slices: how many a run measures, in which order, and those of a closed loop with their median."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.bench.children import Child
from tests.bench.engines import Contestant
from tests.bench.figures import Answers, medians, ratio

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


async def closed_loop(
    load: Child,
    pids: Mapping[str, int],
    contestant: Contestant,
    channels: int,
    in_flight: int,
    seconds: float,
) -> dict[str, Any]:
    """Measure a slice with `in_flight` messages at the same time over `channels`.

    load: the process that sends. pids: other processes whose processor time is of interest.
    Return the load's answer, see `tests.bench.load.ClosedLoop`. Raise ChildFailed.
    """
    question = {
        **contestant.question("closed_loop"),
        "channels": channels,
        "in_flight": in_flight,
        "seconds": seconds,
        "pids": {**pids, "asked": contestant.process.pid},
    }
    return await load.ask(question, SLICE_LIMIT_S)


def row(name: str, slices: Answers, yardstick: Answers) -> dict[str, Any]:
    """Return the medians of a contestant's closed loops.

    ratio: its rate over the yardstick's, round by round. cpu_ratio: the yardstick's processor time
    over its own: the ratio if only the processor counted, which holds on a busy machine too.
    """
    return {
        "name": name,
        **medians(slices, "answers_a_second", "p50_ms", "p99_ms", "cpu_us", "deltas_an_answer"),
        "ratio": ratio("answers_a_second", slices, yardstick),
        "cpu_ratio": ratio("cpu_us", yardstick, slices),
    }
