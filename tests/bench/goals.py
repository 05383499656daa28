"""The published figures of the benchmark, their goals, and whether the results meet them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.figures import median, text

HEAD = "section | what | goal | measured, median [quartiles] | "
LARGEST = 10_000_000  # rows of history; the goals of `rows` are for this size


@dataclass(frozen=True)
class Goal:
    """A published figure of a section, with a `limit` such as "<= 0.25" if there is a goal for it.

    path: leads to the figure in the section's results, such as "rows.100.bare_s"; "last" is the
    last of several, the largest.
    """

    section: str
    path: str
    unit: str
    limit: str
    name: str

    @property
    def wanted(self) -> str:
        return f"{self.limit} {self.unit}".strip() if self.limit else ""


@dataclass(frozen=True)
class Verdict:
    """A measured figure beside its goal; `word` is "met", "MISSED", or "" without a goal.

    name: the goal's, with the rows of history that it was measured with if there are several sizes.
    """

    goal: Goal
    name: str
    measured: str
    word: str


# path | unit | limit | name; {n} stands for each of several numbers, which the section names
_TABLE = """
channels
rows.100.default_s | s | <= 0.27 | 100 channels at 200 ms, all answered, with the default file
rows.100.streamed_s | s | <= 0.27 | 100 channels at 200 ms, all answered
rows.100.whole_s | s | | the same, whole answers
rows.100.bare_s | s | | the same, bare loop
rows.100.one_at_a_time_s | s | | the same, one at a time
rows.1000.streamed_s | s | <= 0.5 | 1,000 channels at 200 ms, all answered
throughput
rows.engine.ratio | | >= 0.38 | durable turns/s over the bare loop, 200 channels
rows.engine.answers_a_second | | | durable turns/s
rows.bare loop.answers_a_second | | | bare loop's answers/s
streamed | | >= 0.7 | streamed turns/s over whole answers', 200 channels
rows.engine, streamed.answers_a_second | | | streamed turns/s
over_plain | | | durable turns/s over the plain way
rows.engine.cpu_us | us | | processor time of a turn
rows.engine, streamed.cpu_us | us | | processor time of a streamed turn
rows.bare loop.cpu_us | us | | processor time of a bare answer
latency
added_syncs | | <= 10 | added p50 at 500/s, in fdatasyncs
added_ms | ms | | added p50 at 500/s
p99_over_direct | | <= 1.05 | p99 at 500/s over the direct call's
rows.500.engine.p50_ms | ms | | p50 at 500/s
rows.500.engine.p99_ms | ms | | p99 at 500/s
rows.1.engine.p50_ms | ms | | p50 at 1/s
pauses
opened | | <= 0 | connections opened by calls after 5 s of pause
marks
rows.5.share | % | <= 3 | commits that hold only marks, 5/s
rows.50.share | % | <= 3 | commits that hold only marks, 50/s
streams
assembled | | >= 0.85 | chunks/s of the providers over iter_any
relayed | | >= 0.6 | chunks/s relayed over the bare relay
relayed_over_reading | | | chunks/s relayed over the bare reading
chunks_a_second.providers | | | chunks/s of the providers
chunks_a_second.engine | | | chunks/s relayed
paced.engine.cpu_us | us | | processor time of a single chunk
paced.engine.chunk_us | us | | each single chunk after the first
paced.over_bare | | | bare relay's time of it over the engine's
paced.engine.first_us | us | | a turn with one chunk
at_once.engine.chunk_us | us | | each chunk after the first, many in a read
at_once.over_bare | | | bare relay's time of it over the engine's, many in a read
fairness
p99_ratio | | <= 1.2 | quiet channels' p99, with a busy channel over without
with.p99_ms | ms | | quiet channels' p99, with a busy channel
flooder.p99_ratio | | <= 1.2 | quiet channels' p99, with a flooder in a room over without
flooder.turns | | <= 8 | turns of a flooder that others in the room wait for
overload
longest.busy_p99_ms | ms | <= 50 | busy at 3x, p99
rss_growth_mib | MiB | <= 16 | memory growth at 3x
over_capacity | | >= 0.9 | answers/s at 3x over the capacity
limits
ratio | | >= 0.95 | turns/s with all limits on over all off
p99_ratio | | <= 1.2 | others' p99, with 5,000 messages/s of a limited user over without
flooded.p99_ms | ms | | others' p99, with 5,000 messages/s of a limited user
growth
rows.{10 or 100 or 1000 or 10000}.engine.answers_a_second | | | turns/s, {n} channels
rows.{10 or 100 or 1000 or 10000}.engine.cpu_us | us | | processor time of a turn, {n} channels
rows.{10 or 100 or 1000 or 10000}.rss_mib | MiB | | memory, {n} channels
checkpoints
ratio | | <= 0.5 | commit p99.9, own checkpoints over SQLite's, 1,000,000 rows
own.p999_ms | ms | | commit p99.9, own checkpoints
waking
warm.p99_ms | ms | | waking a channel from the system's memory, p99
first.p50_ms | ms | | first answer, from the disk, p50
second.p50_ms | ms | | second answer, same channel, p50
startup
help_s | s | <= 0.12 | rosey-llm --help
footprint
channel_kb | KB | <= 3.2 | an idle resident channel
empty_mb | MB | | an engine without channels
known_and_resident_mb | MB | <= 60 | 1,000,000 known and 10,000 resident channels
indexing
ratio | | >= 0.9 | turns/s with the search index over without
without.ratio | | | turns/s without the search index over the bare loop
slow_disk
rows.engine.answers_a_second | | | durable turns/s, fdatasyncs of 5 ms
added_syncs | | <= 4 | added p50 at 500/s, in fdatasyncs of 5 ms
added_ms | ms | | added p50 at 500/s, fdatasyncs of 5 ms
searching
command_s | s | | rosey-llm history search
rows
rows.last.wake.p99_ms | ms | <= 5 | waking a channel, p99
rows.last.start_s | s | <= 0.5 | start to ready
rows.last.search.{common words or rare words or two words}.p99_ms | ms | <= 10 | a search, {n}, p99
rows.last.turn.p50_ms | ms | | a turn committed, p50
rows.last.turn.p99_ms | ms | | a turn committed, p99
rows.last.bytes_a_row | bytes | | a row in the database
rows.last.indexed_bytes_a_row | bytes | | a row in the full-text index
"""


def _goals() -> Iterator[Goal]:
    section = ""
    for line in _TABLE.split("\n")[1:-1]:
        if " | " not in line:
            section = line
            continue
        path, unit, limit, name = (each.strip() for each in line.split("|"))
        before, _, rest = path.partition("{")
        several, _, after = rest.partition("}")
        for each in several.split(" or "):
            shown = f"{int(each):,}" if each.isdigit() else each
            yield Goal(section, before + each + after, unit, limit, name.replace("{n}", shown))


GOALS = tuple(_goals())


def verdicts(results: Mapping[str, Any], goals: Sequence[Goal] = GOALS) -> Iterator[Verdict]:
    """Yield a verdict on each figure that was measured; `results` by section."""
    for goal in goals:
        figure, size = _value_at(results, [goal.section, *goal.path.split(".")])
        if figure is not None:
            yield Verdict(goal, goal.name + size, text(figure, goal.unit), _word(goal, figure))


def rows(found: Iterable[Verdict]) -> Iterator[Sequence[str]]:
    """Yield the verdicts as rows of a table, below HEAD."""
    for each in found:
        word = each.word.replace("MISSED", "**missed**")
        yield f"`{each.goal.section}`", each.name, each.goal.wanted, each.measured, word


def _word(goal: Goal, figure: Any) -> str:
    if not goal.limit:
        return ""
    sign, limit = goal.limit.split()
    over = median(figure) - float(limit)
    return "met" if (over >= 0 if sign == ">=" else over <= 0) else "MISSED"


def _value_at(result: Any, path: Sequence[str]) -> tuple[Any, str]:
    """Return the value at the end of the path, or None; and which size the last of several is."""
    size = ""
    for step in path:
        if not isinstance(result, Mapping):
            return None, ""
        if step == "last":
            step = list(result)[-1]
            more = "" if int(step) == LARGEST else f"; --full for {LARGEST // 1_000_000} M"
            size = f", at {int(step):,} rows{more}"
        result = result.get(step)
    return result, size
