"""What many measurements come to."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The median of a figure's rounds, between its quartiles."""

    low: float
    median: float
    high: float

    def __format__(self, spec: str) -> str:
        return f"{self.median:{spec}} [{self.low:{spec}}-{self.high:{spec}}]"


def spread(values: Sequence[float]) -> Spread:
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


def ratios(figures: Sequence[float], yardstick: Sequence[float]) -> Spread:
    """Each round's figure over the same round's yardstick: what drifts takes both along."""
    return spread([figure / each for figure, each in zip(figures, yardstick, strict=True)])


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of them do not exceed; 0.0 where there are none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
