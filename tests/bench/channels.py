"""The section `channels`: a message in each of many channels at once, until all are answered."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from tests.bench.engines import SLOW_MODEL, Contestant
from tests.bench.slices import Plan
from tests.bench.stage import Stage

COUNTS = (10, 100, 1000)
BURST_LIMIT_S = 90.0


@dataclass(frozen=True)
class ChannelsRow:
    """Seconds until all of `channels` were answered, medians of the rounds.

    one_at_a_time_s: measured for `Channels.measured` channels, calculated for other numbers.
    gain: `one_at_a_time_s` over `streamed_s`.
    """

    channels: int
    streamed_s: float
    whole_s: float
    bare_s: float
    one_at_a_time_s: float
    gain: float


@dataclass(frozen=True)
class Channels:
    """The results. measured: with how many channels one at a time ran. rows: by channels."""

    rounds: int
    measured: int
    rows: dict[str, ChannelsRow]


async def measure(stage: Stage, plan: Plan) -> Channels:
    rounds, measured = (2, 10) if plan.quick else (5, 100)
    streamed = stage.engine.by_chat()
    whole = stage.engine.by_request(SLOW_MODEL)
    bare = stage.bare(SLOW_MODEL)
    contestants = [streamed, whole, bare]
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for count in COUNTS:
            for each in contestants:
                seconds.setdefault((each.name, count), []).append(await _burst(stage, each, count))
        contestants.reverse()
    # One measurement is enough: its time hardly varies.
    for_each_s = await _burst(stage, stage.one_at_a_time(SLOW_MODEL), measured) / measured

    def row(count: int) -> ChannelsRow:
        streamed_s, whole_s, bare_s = (
            statistics.median(seconds[each.name, count]) for each in (streamed, whole, bare)
        )
        one_s = for_each_s * count
        return ChannelsRow(count, streamed_s, whole_s, bare_s, one_s, one_s / streamed_s)

    return Channels(rounds, measured, {str(count): row(count) for count in COUNTS})


async def _burst(stage: Stage, contestant: Contestant, channels: int) -> float:
    answer = await stage.ask("burst", contestant, channels=channels, limit_s=BURST_LIMIT_S)
    return float(answer["seconds"])
