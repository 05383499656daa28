"""Channels against time: a message on each of many channels at once; when is the last answered?"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from tests.bench.stage import MAX_CONCURRENCY, SLOW_MODEL, SLOW_MS, Contestant, Stage

COUNTS = (10, 100, 1000)
ONE_AT_A_TIME_CHANNELS = 10
BURST_LIMIT_S = 90.0


@dataclass(frozen=True)
class ChannelsRow:
    """Seconds until all of `channels` were answered, medians of the rounds.

    `one_at_a_time_s` is measured for 10 channels; above that it is calculated from there.
    """

    channels: int
    streamed_s: float
    whole_s: float
    bare_s: float
    one_at_a_time_s: float
    calculated: bool

    @property
    def gain(self) -> float:
        """How many times sooner than one at a time."""
        return self.one_at_a_time_s / self.streamed_s


async def measure(stage: Stage, rounds: int) -> list[ChannelsRow]:
    streamed = stage.streamed()
    whole = stage.whole(SLOW_MODEL)
    bare = stage.bare(SLOW_MODEL)
    one = stage.one_at_a_time(SLOW_MODEL)
    contestants = [streamed, whole, bare]
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for count in COUNTS:
            for each in contestants:
                seconds.setdefault((each.name, count), []).append(await _burst(stage, each, count))
        contestants.reverse()
    # Two seconds each, and nothing in them that varies.
    one_seconds = [await _burst(stage, one, ONE_AT_A_TIME_CHANNELS) for _ in range(min(rounds, 3))]
    for_each_s = statistics.median(one_seconds) / ONE_AT_A_TIME_CHANNELS
    return [
        ChannelsRow(
            channels=count,
            streamed_s=statistics.median(seconds[streamed.name, count]),
            whole_s=statistics.median(seconds[whole.name, count]),
            bare_s=statistics.median(seconds[bare.name, count]),
            one_at_a_time_s=for_each_s * count,
            calculated=count != ONE_AT_A_TIME_CHANNELS,
        )
        for count in COUNTS
    ]


async def _burst(stage: Stage, contestant: Contestant, channels: int) -> float:
    question = {
        "do": "burst",
        "subject": contestant.subject,
        "body": contestant.body,
        "channels": channels,
    }
    answer = await stage.load.ask(question, BURST_LIMIT_S)
    return float(answer["seconds"])


def table(rows: list[ChannelsRow], rounds: int) -> list[str]:
    lines = [
        f"Channels against time: one message on each channel at once, a provider that takes "
        f"{SLOW_MS} ms,",
        f"seconds until all are answered (median of {rounds} rounds). Engine: durability full, "
        f"max_concurrency {MAX_CONCURRENCY:,}",
        "(by default 64 calls at once go to a provider, and more wait for a place).",
        "",
        "channels   engine: !chat,    engine:          bare loop   one at a time   one at a time",
        "           streamed          llm.request,                                 / engine,",
        "                             whole                                        streamed",
    ]
    for row in rows:
        mark = "*" if row.calculated else " "
        lines.append(
            f"{row.channels:8,}   {row.streamed_s:8.3f} s   {row.whole_s:13.3f} s   "
            f"{row.bare_s:10.3f} s   {row.one_at_a_time_s:10.2f} s{mark}   {row.gain:9.1f}"
        )
    return [*lines, "* calculated: it grows by one answer's time for each channel"]
