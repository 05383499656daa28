"""What there is to measure, in the order in which it is done.

A section is a module with `measure`, which gives a frozen record, and `table`, which tells it in
lines. Those of the engine share one stage; those of the store get an empty folder each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from tests.bench import channels, fairness, growth, latency, overload, streams, throughput
from tests.bench.plan import Plan
from tests.bench.stage import Stage
from tests.bench.store import (
    checkpoints,
    footprint,
    indexing,
    rows,
    searching,
    startup,
    waking,
)


class OfTheEngine(Protocol):
    async def measure(self, stage: Stage, plan: Plan) -> Any: ...

    def table(self, result: Any) -> list[str]: ...


class OfTheStore(Protocol):
    async def measure(self, folder: Path, plan: Plan) -> Any: ...

    def table(self, result: Any) -> list[str]: ...


ENGINE: dict[str, OfTheEngine] = {
    "channels": channels,
    "throughput": throughput,
    "latency": latency,
    "streams": streams,
    "fairness": fairness,
    "overload": overload,
    "growth": growth,
}
STORE: dict[str, OfTheStore] = {
    "checkpoints": checkpoints,
    "waking": waking,
    "startup": startup,
    "footprint": footprint,
    "indexing": indexing,
    "searching": searching,
    "rows": rows,
}
NAMES = (*ENGINE, *STORE)
