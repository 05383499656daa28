"""The published figures of the benchmark, their goals, and whether the results meet them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.figures import short

LARGEST = 10_000_000  # rows of history; the goals of `rows` are for this size


@dataclass(frozen=True)
class Goal:
    """A published figure of a section, with a limit if there is a goal for it.

    path: leads to the figure in the section's results, such as "rows.100.bare_s"; "last" is the
    last of several, the largest. less: path of a figure to subtract first. size: path of the rows
    of history that the figure was measured with. unit_size: how much of the figure is one `unit`.
    at_least: more is better; otherwise less is.
    """

    section: str
    name: str
    path: str
    limit: float | None = None
    unit: str = ""
    less: str = ""
    size: str = ""
    unit_size: float = 1.0
    at_least: bool = False


@dataclass(frozen=True)
class Verdict:
    """A measured figure beside its goal.

    name: the goal's, with the rows of history it was measured with if the goal has a `size`.
    measured: the figure, with its quartiles if it is a median of rounds.
    """

    goal: Goal
    name: str
    figure: float
    measured: str

    @property
    def is_met(self) -> bool:
        """Whether the figure is within its limit; without a limit it always is."""
        limit = self.goal.limit
        if limit is None:
            return True
        return self.figure >= limit if self.goal.at_least else self.figure <= limit

    @property
    def wanted(self) -> str:
        sign = ">=" if self.goal.at_least else "<="
        return "" if self.goal.limit is None else f"{sign} {self.goal.limit:g}{self.goal.unit}"

    @property
    def word(self) -> str:
        return "" if self.goal.limit is None else "met" if self.is_met else "MISSED"


def _at_least(section: str, name: str, path: str, limit: float) -> Goal:
    return Goal(section, name, path, limit, at_least=True)


def _memory(name: str, path: str, limit: float | None = None, less: str = "") -> Goal:
    return Goal("footprint", name, path, limit, " MB", less=less, unit_size=10**6)


def _rows(name: str, path: str, limit: float | None = None, unit: str = " ms") -> Goal:
    return Goal("rows", name, f"rows.last.{path}", limit, unit, size="rows.last.rows")


def _growth(name: str, path: str, unit: str = "") -> tuple[Goal, ...]:
    return tuple(
        Goal("growth", f"{name}, {count:,} channels", f"rows.{count}.{path}", None, unit)
        for count in (10, 100, 1_000, 10_000)
    )


GOALS = (
    Goal("channels", "100 channels at 200 ms, all answered", "rows.100.streamed_s", 0.25, " s"),
    Goal("channels", "the same, whole answers", "rows.100.whole_s", None, " s"),
    Goal("channels", "the same, bare loop", "rows.100.bare_s", None, " s"),
    Goal("channels", "the same, one at a time", "rows.100.one_at_a_time_s", None, " s"),
    Goal("channels", "1,000 channels at 200 ms, all answered", "rows.1000.streamed_s", 0.45, " s"),
    _at_least(
        "throughput", "durable turns/s over the bare loop, 200 channels", "rows.engine.ratio", 0.85
    ),
    Goal("throughput", "durable turns/s", "rows.engine.answers_a_second"),
    Goal("throughput", "bare loop's answers/s", "rows.bare loop.answers_a_second"),
    Goal("throughput", "durable turns/s over the plain way", "over_plain"),
    Goal("throughput", "processor time of a turn", "rows.engine.cpu_us", None, " us"),
    Goal("throughput", "processor time of a bare answer", "rows.bare loop.cpu_us", None, " us"),
    Goal("latency", "added p50 at 500/s, in fdatasyncs", "added_syncs", 4.0),
    Goal("latency", "added p50 at 500/s", "added_ms", None, " ms"),
    Goal("latency", "p99 at 500/s over the direct call's", "p99_over_direct", 1.05),
    Goal("latency", "p50 at 500/s", "rows.500.engine.p50_ms", None, " ms"),
    Goal("latency", "p99 at 500/s", "rows.500.engine.p99_ms", None, " ms"),
    Goal("latency", "p50 at 1/s", "rows.1.engine.p50_ms", None, " ms"),
    _at_least("streams", "chunks/s of the providers over iter_any", "assembled", 0.85),
    _at_least("streams", "chunks/s relayed over the bare relay", "relayed", 0.80),
    Goal("streams", "chunks/s relayed over the bare reading", "relayed_over_reading"),
    Goal("streams", "chunks/s of the providers", "chunks_a_second.providers"),
    Goal("streams", "chunks/s relayed", "chunks_a_second.engine"),
    Goal("streams", "processor time of a single chunk", "paced_cpu_us.engine", None, " us"),
    Goal("fairness", "quiet channels' p99, with a busy channel over without", "p99_ratio", 1.2),
    Goal("fairness", "quiet channels' p99, with a busy channel", "p99_ms.with", None, " ms"),
    Goal("overload", "busy at 3x, p99", "longest.busy_p99_ms", 50.0, " ms"),
    Goal("overload", "memory growth at 3x", "rss_growth_mib", 16.0, " MiB"),
    _at_least("overload", "answers/s at 3x over the capacity", "over_capacity", 0.9),
    *_growth("turns/s", "engine.answers_a_second"),
    *_growth("processor time of a turn", "engine.cpu_us", " us"),
    *_growth("memory", "rss_mib", " MiB"),
    Goal(
        "checkpoints", "commit p99.9, own checkpoints over SQLite's, 1,000,000 rows", "ratio", 0.5
    ),
    Goal("checkpoints", "commit p99.9, own checkpoints", "ways.0.waits.p999_ms", None, " ms"),
    Goal("waking", "waking a channel from the system's memory, p99", "warm.p99_ms", None, " ms"),
    Goal("waking", "first answer, from the disk, p50", "first.p50_ms", None, " ms"),
    Goal("waking", "second answer, same channel, p50", "second.p50_ms", None, " ms"),
    Goal("startup", "rosey-llm --help", "help_s", 0.12, " s"),
    Goal("footprint", "an idle resident channel", "bytes_a_channel", 3.2, " KB", unit_size=1000),
    _memory("an engine without channels", "empty_bytes"),
    _memory("1,000,000 known and 10,000 resident channels", "resident_bytes", 60, "empty_bytes"),
    _at_least("indexing", "turns/s with the search index over without", "ratio", 0.9),
    Goal("searching", "rosey-llm history search", "command_s", None, " s"),
    _rows("waking a channel, p99", "wake.p99_ms", 5.0),
    _rows("start to ready", "start_s", 0.5, " s"),
    _rows("a search, common words, p99", "search.common words.p99_ms", 10.0),
    _rows("a search, rare words, p99", "search.rare words.p99_ms", 10.0),
    _rows("a search, two words, p99", "search.two words.p99_ms", 10.0),
    _rows("a turn committed, p50", "turn.p50_ms"),
    _rows("a turn committed, p99", "turn.p99_ms"),
    _rows("a row in the database", "bytes_a_row", None, " bytes"),
    _rows("a row in the full-text index", "indexed_bytes_a_row", None, " bytes"),
)


def verdicts(
    results: Mapping[str, Any], goals: Sequence[Goal] = GOALS, section: str | None = None
) -> Iterator[Verdict]:
    """Yield a verdict on each figure that was measured; `results` by section, as in the JSON."""
    for goal in goals:
        if goal.section in results and section in (None, goal.section):
            found = _verdict(goal, results[goal.section])
            if found is not None:
                yield found


def table(found: Sequence[Verdict]) -> list[str]:
    """Return the verdicts as lines of text; figures without a goal are left out."""
    judged = [each for each in found if each.goal.limit is not None]
    wide = max((len(each.name) for each in judged), default=0)
    return [
        f"goal: {each.name:{wide}}  {each.wanted:>11}   {each.measured:24} {each.word}"
        for each in judged
    ]


def _verdict(goal: Goal, result: Any) -> Verdict | None:
    """Return None if the figure was not measured."""
    figure = _value_at(result, goal.path)
    if figure is None:
        return None
    name = _full_name(goal, result)
    if isinstance(figure, Mapping):
        sized = {key: value / goal.unit_size for key, value in figure.items()}
        low, median, high = (short(sized[key]) for key in ("low", "median", "high"))
        return Verdict(goal, name, sized["median"], f"{median}{goal.unit} [{low}-{high}]")
    less = _value_at(result, goal.less) if goal.less else 0.0
    figure = (figure - less) / goal.unit_size
    return Verdict(goal, name, figure, f"{short(figure)}{goal.unit}")


def _full_name(goal: Goal, result: Any) -> str:
    if not goal.size:
        return goal.name
    rows = _value_at(result, goal.size)
    more = "" if rows == LARGEST else f"; --full for {LARGEST // 1_000_000} M"
    return f"{goal.name}, at {rows:,} rows{more}"


def _value_at(result: Any, path: str) -> Any:
    """Return the value at the end of the path, or None."""
    for step in path.split("."):
        if isinstance(result, list):
            result = result[int(step)]
        elif isinstance(result, Mapping):
            result = list(result.values())[-1] if step == "last" else result.get(step)
        else:
            return None
    return result
