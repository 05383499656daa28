"""Percentiles of how long something took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.figures import percentile


@dataclass(frozen=True)
class Latencies:
    count: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float

    def __str__(self) -> str:
        return (
            f"{self.p50_ms:8.2f} {self.p99_ms:8.2f} {self.p999_ms:8.2f} {self.max_ms:8.2f} ms"
            f" {self.count:8,}"
        )


HEADING = "     p50      p99    p99.9      max        count"


def latencies(taken_us: Sequence[float]) -> Latencies:
    return Latencies(
        count=len(taken_us),
        p50_ms=percentile(taken_us, 50) / 1000,
        p99_ms=percentile(taken_us, 99) / 1000,
        p999_ms=percentile(taken_us, 99.9) / 1000,
        max_ms=max(taken_us) / 1000,
    )
