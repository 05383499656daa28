"""The plan of a run, slices in turn, and the statistics over them: medians, ratios, percentiles."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Result = dict[str, Any]  # the figures of a section, to be written as JSON
Answers = Sequence[Mapping[str, Any]]  # of a contestant, one for each round
Spread = dict[str, float]  # the median and the quartiles of a figure over its rounds


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
    contestants: Mapping[str, Callable[[int], Awaitable[dict[str, Any]]]],
    rounds: int,
    warm_up: Mapping[str, Callable[[int], Awaitable[object]]] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Measure a slice of each contestant in turn, every other round in the opposite order.

    A contestant is a function that measures the slice of the round with this number.
    warm_up: to be done once before, such as to fill windows and open connections.
    """
    for measure in (warm_up or {}).values():
        await measure(0)
    slices: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    order = list(contestants)
    for number in range(rounds):
        for name in order:
            slices[name].append(await contestants[name](number))
        order.reverse()
    return slices


def spread(values: Sequence[float]) -> Spread:
    if len(values) < 2:
        values = [values[0]] * 2
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"low": low, "median": middle, "high": high}


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of the values do not exceed, or 0.0 for no values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def latencies(taken_us: Sequence[float]) -> dict[str, float]:
    """Return percentiles of how long something took."""
    return {
        "count": len(taken_us),
        "p50_ms": percentile(taken_us, 50) / 1000,
        "p99_ms": percentile(taken_us, 99) / 1000,
        "p999_ms": percentile(taken_us, 99.9) / 1000,
        "max_ms": max(taken_us) / 1000,
    }


def medians(answers: Answers, *keys: str) -> dict[str, float]:
    """Return the median of each of these figures."""
    return {key: statistics.median(each[key] for each in answers) for key in keys}


def differences(key: str, answers: Answers, others: Answers) -> list[float]:
    """Subtract the others' figure from each round's."""
    return [each[key] - other[key] for each, other in zip(answers, others, strict=True)]


def ratio(key: str, answers: Answers, yardstick: Answers) -> Spread:
    """Divide each round's figure by the same round's yardstick: drift changes both alike."""
    return spread([each[key] / other[key] for each, other in zip(answers, yardstick, strict=True)])


def row(slices: Answers, yardstick: Answers) -> dict[str, Any]:
    """Return the medians of a contestant's closed loops.

    ratio: its rate over the yardstick's, round by round. cpu_ratio: the yardstick's processor time
    over its own: the ratio if only the processor counted, which holds on a busy machine too.
    """
    return {
        **medians(slices, "answers_a_second", "p50_ms", "p99_ms", "cpu_us"),
        "ratio": ratio("answers_a_second", slices, yardstick),
        "cpu_ratio": ratio("cpu_us", yardstick, slices),
    }


def median(figure: float | Spread) -> float:
    return figure if isinstance(figure, float | int) else figure["median"]


def text(figure: float | Spread, unit: str = "") -> str:
    """Return a figure with its unit, and with its quartiles if it has any."""
    after = f" {unit}" if unit else ""
    if isinstance(figure, float | int):
        return (f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}") + after
    return f"{text(figure['median'], unit)} [{text(figure['low'])}-{text(figure['high'])}]"


def lines(result: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield a result as text: each record on a line of its own, after its path."""
    inner = {
        key: value
        for key, value in result.items()
        if isinstance(value, Mapping) and value.keys() != {"low", "median", "high"}
    }
    figures = [f"{key} {text(result[key])}" for key in result if key not in inner]
    if figures:
        yield f"{path:36} {'   '.join(figures)}"
    for key, value in inner.items():
        yield from lines(value, f"{path}.{key}")


def table(head: str, rows: Iterator[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table. head: its columns, such as "a | b"."""
    yield f"| {head} |"
    yield f"|{'---|' * (head.count('|') + 1)}"
    for cells in rows:
        yield f"| {' | '.join(cells)} |"
