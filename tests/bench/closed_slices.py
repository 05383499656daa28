"""Slices of a closed loop for one contestant, and the row that sums them up."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.engines import Contestant
from tests.bench.figures import Spread, ratios
from tests.bench.stage import Stage

WARM_UP_S = 2.0
SLICE_LIMIT_S = 180.0


@dataclass(frozen=True)
class Slice:
    """The figures of one slice.

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


@dataclass(frozen=True)
class Load:
    """A contestant and its load: `in_flight` messages at the same time over `channels`."""

    contestant: Contestant
    channels: int
    in_flight: int

    async def slice(self, stage: Stage, seconds: float) -> Slice:
        answer: dict[str, Any] = await stage.ask(
            "closed_loop",
            self.contestant,
            channels=self.channels,
            in_flight=self.in_flight,
            seconds=seconds,
            pids={**stage.pids, "asked": self.contestant.process.pid},
            limit_s=SLICE_LIMIT_S,
        )
        busy = answer["busy"]
        return Slice(
            answers_a_second=answer["answers_a_second"],
            p50_ms=answer["p50_ms"],
            p99_ms=answer["p99_ms"],
            cpu_us=busy.pop("asked") / answer["answers_a_second"] * 1e6,
            deltas_an_answer=answer["deltas"] / answer["answers"],
            busy=busy,
        )


def row(name: str, slices: Sequence[Slice], yardstick: Sequence[Slice]) -> Row:
    return Row(
        name=name,
        answers_a_second=statistics.median(each.answers_a_second for each in slices),
        ratio=ratios(
            [each.answers_a_second for each in slices],
            [each.answers_a_second for each in yardstick],
        ),
        p50_ms=statistics.median(each.p50_ms for each in slices),
        p99_ms=statistics.median(each.p99_ms for each in slices),
        cpu_us=statistics.median(each.cpu_us for each in slices),
        cpu_ratio=ratios([each.cpu_us for each in yardstick], [each.cpu_us for each in slices]),
        deltas_an_answer=statistics.median(each.deltas_an_answer for each in slices),
    )
