"""Statistics over many measurements: median and quartiles, ratios, percentiles; and their text."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Result = dict[str, Any]  # the figures of a section, to be written as JSON
Answers = Sequence[Mapping[str, Any]]  # of a contestant, one for each round


@dataclass(frozen=True)
class Spread:
    """The median and the quartiles of a figure over its rounds."""

    low: float
    median: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


def ratios(figures: Sequence[float], yardstick: Sequence[float]) -> Spread:
    """Divide each round's figure by the same round's yardstick: drift changes both alike."""
    return spread([figure / each for figure, each in zip(figures, yardstick, strict=True)])


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


def column(answers: Answers, key: str) -> list[float]:
    """Return one figure of each answer."""
    return [each[key] for each in answers]


def medians(answers: Answers, *keys: str) -> dict[str, float]:
    """Return the median of each of these figures."""
    return {key: statistics.median(column(answers, key)) for key in keys}


def ratio(key: str, answers: Answers, yardstick: Answers) -> Spread:
    """Divide one figure of each round by the yardstick's."""
    return ratios(column(answers, key), column(yardstick, key))


def text(value: Any) -> str | None:
    """Return a figure as in the JSON, with its quartiles; or None if it is no figure."""
    if isinstance(value, Mapping):
        if value.keys() != {"low", "median", "high"}:
            return None
        low, median, high = (short(value[key]) for key in ("low", "median", "high"))
        return f"{median} [{low}-{high}]"
    if isinstance(value, list):
        return None if any(text(each) is None for each in value) else " ".join(map(short, value))
    return value if isinstance(value, str) else short(value)


def short(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def table(result: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield a result, as in the JSON, as text: each record on a line of its own, after its path."""
    figures = {key: found for key, value in result.items() if (found := text(value)) is not None}
    if figures:
        yield f"{path:36} {'   '.join(f'{key} {found}' for key, found in figures.items())}"
    for key in [key for key in result if key not in figures]:
        inner = result[key]
        if isinstance(inner, list):
            inner = {str(number): each for number, each in enumerate(inner)}
        yield from table(inner, f"{path}.{key}")
