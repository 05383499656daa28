"""A histogram of plain numbers: adding a value is cheap; buckets are summed only when read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LONG_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Histogram:
    """A histogram with fixed buckets.

    bounds: the upper bounds of the buckets, ascending; a value equal to a bound is in its bucket.
    counts: the number of values in each bucket; one more bucket has all larger values.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return (upper bound, number of values up to it) as Prometheus does, "+Inf" last."""
        below, buckets = 0, []
        for bound, count in zip([*map(float, self.bounds), "+Inf"], self.counts, strict=True):
            below += count
            buckets.append((str(bound), float(below)))
        return buckets
