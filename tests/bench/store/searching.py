"""The section `searching`: `history search` from the disk, and the whole command.

The section `rows` measures searches in memory.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from engine.interfaces.reports.search import search
from storage.queries.search_terms import to_match
from storage.queries.selection import Selection
from storage.search_index import path_of
from tests.bench.children import installed
from tests.bench.figures import Result, latencies, spread
from tests.bench.slices import Plan
from tests.bench.store import page_cache
from tests.bench.store.grown import Size, cached_database, tag, word
from tests.bench.store.startup import time_command

SIZE = Size(channels=100_000, exchanges=5)
SEARCHES, QUICK_SEARCHES = 100, 40
COMMANDS = 5
HITS = 20
Draw = Callable[[random.Random, Size], str]
KINDS: dict[str, Draw] = {
    "common words": lambda chance, _: word(chance.randrange(30)),
    "rare words": lambda chance, size: tag(chance.randrange(size.rows)),
    "two words": lambda chance, _: (
        f"{word(chance.randrange(60))} {word(chance.randrange(60, 400))}"
    ),
}


async def measure(folder: Path, plan: Plan) -> Result:
    """Measure searches, cold_by_kind: with nothing in memory at first; and the whole command."""
    database = await cached_database(SIZE)
    searches = QUICK_SEARCHES if plan.quick else SEARCHES
    await asyncio.to_thread(_search, database, "once")  # brings the index up to date
    command = [installed("rosey-llm"), "history", "search", "--database", str(database), word(20)]
    command_s = [await time_command(command) for _ in range(COMMANDS)]
    page_cache.forget(database)
    cold = await asyncio.to_thread(_times, database, SIZE, searches)
    return {"rows": SIZE.rows, "cold_by_kind": cold, "command_s": spread(command_s)}


def warm_times(database: Path, size: Size, searches: int) -> dict[str, Result]:
    """Time `searches` of each kind, with the index up to date and everything in memory.

    Each search opens the index again.
    """
    _search(database, "once")
    for file in (database, path_of(database)):
        page_cache.read_in(file)
    return _times(database, size, searches)


def _times(database: Path, size: Size, searches: int) -> dict[str, Result]:
    chance = random.Random(5)
    taken_us: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(searches):
        for kind, draw in KINDS.items():
            words = draw(chance, size)
            began = perf_counter()
            found = _search(database, words)
            taken_us[kind].append((perf_counter() - began) * 1e6)
            assert found or kind == "two words", words
    return {kind: latencies(each) for kind, each in taken_us.items()}


def _search(database: Path, words: str) -> int:
    found = search(
        database,
        to_match(words),
        Selection(),
        HITS,
        best=False,
        warn=print,
        on_progress=lambda done, behind: None,
    )
    return len(found)
