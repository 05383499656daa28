"""The sections of the benchmark, in the order in which they run.

A section is a module with `measure`, which returns a frozen record, and `table`, which returns it
as lines of text. `place` is the shared stage for sections of the engine, and an empty folder for
each section of the store.
"""

from __future__ import annotations

from typing import Any, Protocol

from tests.bench import channels, fairness, growth, latency, overload, streams, throughput
from tests.bench.plan import Plan
from tests.bench.store import (
    checkpoints,
    footprint,
    indexing,
    rows,
    searching,
    startup,
    waking,
)


class Section(Protocol):
    async def measure(self, place: Any, plan: Plan, /) -> Any: ...

    def table(self, result: Any) -> list[str]: ...


ENGINE: dict[str, Section] = {
    "channels": channels,
    "throughput": throughput,
    "latency": latency,
    "streams": streams,
    "fairness": fairness,
    "overload": overload,
    "growth": growth,
}
STORE: dict[str, Section] = {
    "checkpoints": checkpoints,
    "waking": waking,
    "startup": startup,
    "footprint": footprint,
    "indexing": indexing,
    "searching": searching,
    "rows": rows,
}
NAMES = (*ENGINE, *STORE)
