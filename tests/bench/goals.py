"""The goals of the benchmark, and whether the results meet them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.store import checkpoints
from tests.bench.store.rows import FULL_SIZES
from tests.bench.store.searching import KINDS

LARGEST = FULL_SIZES[-1].rows


@dataclass(frozen=True)
class Goal:
    """A limit for one figure of a section.

    path: leads to the figure in the section's results, such as "rows.100.bare_s"; "last" is the
    last of several, the largest. less: path of a figure to subtract first. size: path of the rows
    of history that the figure was measured with. unit_size: how much of the figure is one `unit`.
    at_least: more is better; otherwise less is.
    """

    section: str
    name: str
    path: str
    limit: float
    unit: str = ""
    less: str = ""
    size: str = ""
    unit_size: float = 1.0
    at_least: bool = False


@dataclass(frozen=True)
class Verdict:
    """A measured figure beside its goal.

    name: the goal's, with the rows of history it was measured with if the goal has a `size`.
    quartiles: None if the figure is not a median of rounds.
    """

    goal: Goal
    name: str
    figure: float
    quartiles: tuple[float, float] | None

    @property
    def is_met(self) -> bool:
        limit = self.goal.limit
        return self.figure >= limit if self.goal.at_least else self.figure <= limit

    @property
    def reached(self) -> float:
        """How much of the goal is reached: 1.0 is the goal, more is better."""
        if self.goal.at_least:
            return self.figure / self.goal.limit
        return self.goal.limit / max(self.figure, 1e-9)

    @property
    def wanted(self) -> str:
        sign = ">=" if self.goal.at_least else "<="
        return f"{sign} {self.goal.limit:g}{self.goal.unit}"

    @property
    def measured(self) -> str:
        text = f"{_short(self.figure)}{self.goal.unit}"
        if self.quartiles is not None:
            low, high = self.quartiles
            text += f" [{_short(low)}-{_short(high)}]"
        return text

    @property
    def word(self) -> str:
        return "met" if self.is_met else "MISSED"


GOALS = (
    Goal("channels", "100 channels at 200 ms, all answered", "rows.100.streamed_s", 0.25, " s"),
    Goal("channels", "1,000 channels at 200 ms, all answered", "rows.1000.streamed_s", 0.45, " s"),
    Goal(
        "throughput",
        "durable turns/s over the bare loop, 200 channels",
        "rows.engine.ratio",
        0.85,
        at_least=True,
    ),
    Goal("latency", "added p50 at 500/s, in fdatasyncs", "added_syncs", 4.0),
    Goal("latency", "p99 at 500/s over the direct call's", "p99_over_direct", 1.05),
    Goal("streams", "chunks/s of the providers over iter_any", "assembled", 0.85, at_least=True),
    Goal("streams", "chunks/s relayed over the bare relay", "relayed", 0.80, at_least=True),
    Goal("fairness", "quiet channels' p99, with a busy channel over without", "p99_ratio", 1.2),
    Goal("overload", "busy at 3x, p99", "longest.busy_p99_ms", 50.0, " ms"),
    Goal("overload", "memory growth at 3x", "rss_growth_mib", 16.0, " MiB"),
    Goal("overload", "answers/s at 3x over the capacity", "over_capacity", 0.9, at_least=True),
    Goal(
        "checkpoints",
        f"commit p99.9, own checkpoints over SQLite's, {checkpoints.SIZE.rows:,} rows",
        "ratio",
        0.5,
    ),
    Goal("startup", "rosey-llm --help", "help_s", 0.12, " s"),
    Goal("footprint", "an idle resident channel", "bytes_a_channel", 3.2, " KB", unit_size=1000),
    Goal(
        "footprint",
        "1,000,000 known and 10,000 resident channels",
        "resident_bytes",
        60,
        " MB",
        less="empty_bytes",
        unit_size=1_000_000,
    ),
    Goal("indexing", "turns/s with the search index over without", "ratio", 0.9, at_least=True),
    *(
        Goal("rows", name, f"rows.last.{path}", limit, unit, size="rows.last.rows")
        for name, path, limit, unit in (
            ("waking a channel, p99", "wake.p99_ms", 5.0, " ms"),
            ("start to ready", "start_s", 0.5, " s"),
            *((f"a search, {kind}, p99", f"search.{kind}.p99_ms", 10.0, " ms") for kind in KINDS),
        )
    ),
)


def verdicts(
    results: Mapping[str, Any], goals: Sequence[Goal] = GOALS, section: str | None = None
) -> Iterator[Verdict]:
    """Yield a verdict on each goal that was measured; `results` by section, as in the JSON."""
    for goal in goals:
        if goal.section in results and section in (None, goal.section):
            found = _verdict(goal, results[goal.section])
            if found is not None:
                yield found


def table(found: Sequence[Verdict]) -> list[str]:
    if not found:
        return []
    wide = max(len(each.name) for each in found)
    return [
        f"goal: {each.name:{wide}}  {each.wanted:>11}   {each.measured:24} {each.word}"
        for each in found
    ]


def _verdict(goal: Goal, result: Any) -> Verdict | None:
    """Return None if the figure was not measured."""
    figure = _value_at(result, goal.path)
    if figure is None:
        return None
    size, name = goal.unit_size, _full_name(goal, result)
    if isinstance(figure, Mapping):
        low, median, high = (figure[key] / size for key in ("low", "median", "high"))
        return Verdict(goal, name, median, (low, high))
    less = _value_at(result, goal.less) if goal.less else 0.0
    return Verdict(goal, name, (figure - less) / size, None)


def _full_name(goal: Goal, result: Any) -> str:
    if not goal.size:
        return goal.name
    rows = _value_at(result, goal.size)
    more = "" if rows == LARGEST else f"; --full for {LARGEST // 1_000_000} M"
    return f"{goal.name}, at {rows:,} rows{more}"


def _value_at(result: Any, path: str) -> Any:
    for step in path.split("."):
        if not isinstance(result, Mapping):
            return None
        result = list(result.values())[-1] if step == "last" else result.get(step)
    return result


def _short(figure: float) -> str:
    return f"{figure:.0f}" if abs(figure) >= 100 else f"{figure:.3g}"
