"""The store's sections on large databases: checkpoints, waking, searching, rows."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from engine.interfaces.reports.search import search
from storage.queries.search_terms import to_match
from storage.queries.selection import Selection
from storage.search_index import path_of
from tests.bench import machine
from tests.bench.children import Child, installed, module, running
from tests.bench.figures import (
    Answers,
    Plan,
    Result,
    Spread,
    alternate,
    column,
    latencies,
    percentile,
    ratios,
    spread,
)
from tests.bench.stage import FAST_MODEL, Variant, environment
from tests.bench.store import keeper
from tests.bench.store.grown import SIZES, Size, cached_database, channel, copy_of, tag, word
from tests.bench.store.startup import time_command, time_start

_, MIDDLE, LARGE = SIZES
RATE = 2000  # turns a second
WOKEN, VISITED = 3000, 300
COMMANDS, HITS = 5, 20
TURNS = 200  # and as many channels woken, in each round of `rows`
MEASURED = ("turn", "wake", "wake_amid_turns")
LIMIT_S = 120.0


def _keeper(database: Path, size: Size, *options: str) -> list[str]:
    return module("store.keeper", str(database), str(size.channels), *options)


async def checkpoints(folder: Path, plan: Plan) -> Result:
    """Measure how long each write waited for its commit while the WAL is copied.

    The engine's own checkpoints against SQLite's, which run in the commit that makes the WAL longer
    than 1,000 pages. ratio: of p99.9, round by round. wal_bytes: the largest WAL.
    """
    seconds, contestants = 2.0 if plan.quick else 3.0, {}
    async with AsyncExitStack() as stack:
        for name, options in (("own", ()), ("sqlite", (keeper.BY_SQLITE,))):
            database = await copy_of(MIDDLE, folder / name)
            command = _keeper(database, MIDDLE, *options)
            child = await stack.enter_async_context(running(name, command))
            await _paced(child, database, 1.0, 0)
            contestants[name] = partial(_paced, child, database, seconds)
        slices = await alternate(contestants, plan.rounds)
    p999 = {
        name: [percentile(each["waits_us"], 99.9) for each in found]
        for name, found in slices.items()
    }
    ways = {name: _way(found) for name, found in slices.items()}
    return {**ways, "ratio": ratios(p999["own"], p999["sqlite"])}


async def _paced(child: Child, database: Path, seconds: float, _: int) -> dict[str, Any]:
    # Some systems drop files from memory that were not read for a while. Then the slice would
    # measure reads from the disk, not writes.
    await asyncio.to_thread(machine.read_into_memory, database)
    return await child.ask({"do": "paced", "rate": RATE, "seconds": seconds}, LIMIT_S)


def _way(slices: Answers) -> Result:
    return {
        **latencies([us for each in slices for us in each["waits_us"]]),
        "turns_a_second": statistics.mean(column(slices, "turns_a_second")),
        "wal_bytes": max(column(slices, "wal_bytes")),
    }


async def waking(folder: Path, plan: Plan) -> Result:
    """Measure how long it takes to load a channel that is not in the engine's memory.

    warm: in the store, with the file in the system's memory. first, second: whole answers over NATS
    from the disk, a channel's first beside its second.
    """
    size = LARGE if plan.full else MIDDLE
    database = await copy_of(size, folder / "woken")
    numbers = random.Random(3).sample(range(size.channels), WOKEN + VISITED)
    woken = {"do": "wake", "numbers": numbers[: 1000 if plan.quick else WOKEN]}
    async with running("the store", _keeper(database, size)) as child:
        for _ in range(2):  # the second time, everything is in memory
            answer = await child.ask(woken, LIMIT_S)
    machine.drop_from_memory(database)
    names = [channel(number) for number in numbers[WOKEN:]]
    variant = Variant("waking", storage={"path": str(database), "search_index": False})
    async with environment(folder) as around, around.engine(variant) as engine:
        asked = engine.by_request(FAST_MODEL)
        await around.visit(asked, [f"warm-up-{number}" for number in range(VISITED)])
        first, second = [await around.visit(asked, names) for _ in range(2)]
    return {
        "warm": latencies(answer["taken_us"]),
        "first": latencies(first.taken_us),
        "second": latencies(second.taken_us),
    }


async def searching(folder: Path, plan: Plan) -> Result:
    """Measure the command `history search`; cold: searches with nothing in memory at first."""
    database = await cached_database(MIDDLE)
    await asyncio.to_thread(_search, database, "once")  # brings the index up to date
    command = [installed("rosey-llm"), "history", "search", "--database", str(database), word(20)]
    command_s = [await time_command(command) for _ in range(COMMANDS)]
    machine.drop_from_memory(database)
    cold = await asyncio.to_thread(_searches, database, MIDDLE, 40 if plan.quick else 100)
    return {"cold": cold, "command_s": spread(command_s)}


def _searches(database: Path, size: Size, count: int) -> Result:
    """Time `count` searches of each kind, with the index up to date; each opens it again."""
    chance = random.Random(5)
    taken_us: dict[str, list[float]] = defaultdict(list)
    for _ in range(count):
        for kind, words in _draw(chance, size).items():
            began = perf_counter()
            found = _search(database, words)
            taken_us[kind].append((perf_counter() - began) * 1e6)
            assert found or kind == "two words", words
    return {kind: latencies(each) for kind, each in taken_us.items()}


def _draw(chance: random.Random, size: Size) -> dict[str, str]:
    """Return words to search for, by their kind."""
    return {
        "common words": word(chance.randrange(30)),
        "rare words": tag(chance.randrange(size.rows)),
        "two words": f"{word(chance.randrange(60))} {word(chance.randrange(60, 400))}",
    }


def _search(database: Path, words: str) -> int:
    def on_progress(done: int, behind: int) -> None:
        pass

    match = to_match(words)
    found = search(
        database, match, Selection(), HITS, best=False, warn=print, on_progress=on_progress
    )
    return len(found)


async def rows(folder: Path, plan: Plan) -> Result:
    """Measure commits, waking, searching and starting with a growing history, by the rows.

    turn: until its outcome is on disk, one turn at a time.
    wake: from the file, which was dropped from memory once, with nothing else to do.
    wake_amid_turns: the same right after TURNS turns, when their WAL may still be large.
    search: by kind of words, in memory.
    bytes_a_row: of the whole file with snapshots; indexed_bytes_a_row: of the full-text index.
    """
    sizes = SIZES if plan.full else SIZES[:-1]
    taken_us = await _turns_and_wakes(folder, sizes, plan.rounds)
    start_s = await _starts(folder, sizes, 5 if plan.quick else 11)
    found = {}
    for size in sizes:
        database = await cached_database(size)
        await asyncio.to_thread(_search, database, "once")  # brings the index up to date
        for file in (database, path_of(database)):
            await asyncio.to_thread(machine.read_into_memory, file)
        searches = 100 if plan.quick else 400
        found[str(size.rows)] = {
            **{what: latencies(taken_us[what, size]) for what in MEASURED},
            "search": await asyncio.to_thread(_searches, database, size, searches),
            "bytes_a_row": database.stat().st_size / size.rows,
            "indexed_bytes_a_row": path_of(database).stat().st_size / size.rows,
            "start_s": start_s[size],
        }
    return {"rows": found}


async def _turns_and_wakes(
    folder: Path, sizes: Sequence[Size], rounds: int
) -> dict[tuple[str, Size], list[float]]:
    """Return microseconds, by what was measured and the size."""
    databases = {size: await copy_of(size, folder / str(size.rows)) for size in sizes}
    taken_us: dict[tuple[str, Size], list[float]] = defaultdict(list)
    chance = random.Random(11)
    async with AsyncExitStack() as stack:
        children = {
            size: await stack.enter_async_context(running("the store", _keeper(database, size)))
            for size, database in databases.items()
        }
        for measured in (("wake",), ("turn", "wake_amid_turns")):
            for database in databases.values():
                await asyncio.to_thread(machine.drop_from_memory, database)
            for _ in range(rounds):
                for size, child in children.items():
                    for what in measured:
                        numbers = chance.sample(range(size.channels), TURNS)
                        wake = {"do": "wake", "numbers": numbers}
                        turns = {"do": "turns", "count": TURNS}
                        answer = await child.ask(turns if what == "turn" else wake, LIMIT_S)
                        taken_us[what, size] += answer["taken_us"]
    return taken_us


async def _starts(folder: Path, sizes: Sequence[Size], count: int) -> dict[Size, Spread]:
    seconds: dict[Size, list[float]] = defaultdict(list)
    async with environment(folder) as around:
        commands = {}
        for size in sizes:
            storage = {"path": str(await cached_database(size))}
            commands[size] = around.command(Variant(f"rows-{size.rows}", storage=storage))
        for _ in range(count):
            for size, command in commands.items():
                seconds[size].append(await time_start(command))
    return {size: spread(found) for size, found in seconds.items()}
