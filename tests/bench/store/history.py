"""The store's sections on large databases: checkpoints, waking, startup, searching, rows."""

from __future__ import annotations

import random
import subprocess
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
from tests.bench.children import Child, ChildFailed, installed, module, running
from tests.bench.figures import (
    Answers,
    Plan,
    Result,
    Spread,
    alternate,
    latencies,
    medians,
    percentile,
    ratio,
    spread,
)
from tests.bench.stage import FAST_MODEL, Variant, stage
from tests.bench.store import keeper
from tests.bench.store.grown import SIZES, Size, cached_database, channel, copy_of, tag, word

_, MIDDLE, LARGE = SIZES
RATE = 2000  # turns a second
WOKEN, VISITED = 3000, 300
COMMANDS, LEAST_COMMANDS, HITS = 5, 9, 20
TURNS = 200  # and as many channels woken, in each round of `rows`
LIMIT_S = 120.0


def _keeper(database: Path, size: Size, *options: str) -> list[str]:
    return module("store.keeper", str(database), str(size.channels), *options)


async def checkpoints(folder: Path, plan: Plan) -> Result:
    """Measure how long each write waited for its commit while the WAL is copied.

    The engine's own checkpoints against SQLite's, which run in the commit that makes the WAL longer
    than 1,000 pages. ratio: of p99.9, round by round. wal_bytes: the largest WAL.
    """
    contestants, warm_up = {}, {}
    async with AsyncExitStack() as stack:
        for name, options in (("own", ()), ("sqlite", (keeper.BY_SQLITE,))):
            database = copy_of(MIDDLE, folder / name)
            command = _keeper(database, MIDDLE, *options)
            child = await stack.enter_async_context(running(name, command))
            warm_up[name] = partial(_paced, child, database, 1.0)
            contestants[name] = partial(_paced, child, database, 2.0 if plan.quick else 3.0)
        slices = await alternate(contestants, plan.rounds, warm_up)
    ratio_of_p999 = ratio("p999_us", slices["own"], slices["sqlite"])
    return {**{name: _way(found) for name, found in slices.items()}, "ratio": ratio_of_p999}


async def _paced(child: Child, database: Path, seconds: float, _: int) -> dict[str, Any]:
    # Some systems drop files from memory that were not read for a while. Then the slice would
    # measure reads from the disk, not writes.
    machine.read_into_memory(database)
    found = await child.ask("paced", rate=RATE, seconds=seconds)
    return {**found, "p999_us": percentile(found["waits_us"], 99.9)}


def _way(slices: Answers) -> Result:
    return {
        **latencies([us for each in slices for us in each["waits_us"]]),
        **medians(slices, "turns_a_second"),
        "wal_bytes": max(each["wal_bytes"] for each in slices),
    }


async def waking(folder: Path, plan: Plan) -> Result:
    """Measure how long it takes to load a channel that is not in the engine's memory.

    warm: in the store, with the file in the system's memory. first, second: whole answers over NATS
    from the disk, a channel's first beside its second.
    """
    size = LARGE if plan.full else MIDDLE
    database = copy_of(size, folder / "woken")
    numbers = random.Random(3).sample(range(size.channels), WOKEN + VISITED)
    woken = numbers[: 1000 if plan.quick else WOKEN]
    async with running("the store", _keeper(database, size)) as child:
        for _ in range(2):  # the second time, everything is in memory
            answer = await child.ask("wake", numbers=woken)
    machine.drop_from_memory(database)
    names = [channel(number) for number in numbers[WOKEN:]]
    variant = Variant("waking", storage={"path": str(database), "search_index": False})
    async with stage(folder) as around, around.running(variant) as engine:
        asked = engine.by_request(FAST_MODEL)
        await asked.visit([f"warm-up-{number}" for number in range(VISITED)])
        first, second = [await asked.visit(names) for _ in range(2)]
    return {
        "warm": latencies(answer["taken_us"]),
        "first": latencies(first["taken_us"]),
        "second": latencies(second["taken_us"]),
    }


async def startup(_: Path, plan: Plan) -> Result:
    """Measure how long `rosey-llm --help` takes. `rows` has a service's start."""
    rounds = max(plan.rounds, LEAST_COMMANDS)
    return {"help_s": spread([_time_command("--help") for _ in range(rounds)])}


def _time_command(*arguments: str) -> float:
    """Return how many seconds a command of `rosey-llm` took."""
    began = perf_counter()
    subprocess.run(
        [installed("rosey-llm"), *arguments],
        stdout=subprocess.PIPE,
        timeout=LIMIT_S,
        check=True,
    )
    return perf_counter() - began


async def searching(_: Path, plan: Plan) -> Result:
    """Measure the command `history search`, with the index up to date."""
    database = cached_database(MIDDLE)
    _search(database, "once")  # brings the index up to date
    command = ("history", "search", "--database", str(database), word(20))
    return {"command_s": spread([_time_command(*command) for _ in range(COMMANDS)])}


async def rows(folder: Path, plan: Plan) -> Result:
    """Measure commits, waking, searching and starting with a growing history, by the rows.

    turn: until its outcome is on disk, one turn at a time.
    wake: from the file, which was dropped from memory once, with nothing else to do.
    search: by kind of words, in memory.
    bytes_a_row: of the whole file with snapshots; indexed_bytes_a_row: of the full-text index.
    """
    sizes = SIZES if plan.full else SIZES[:-1]
    taken_us = await _turns_and_wakes(folder, sizes, plan.rounds)
    start_s = await _starts(folder, sizes, 5 if plan.quick else 11)
    found = {}
    for size in sizes:
        database = cached_database(size)
        _search(database, "once")  # brings the index up to date
        for file in (database, path_of(database)):
            machine.read_into_memory(file)
        found[str(size.rows)] = {
            **{what: latencies(taken_us[what, size]) for what in ("turn", "wake")},
            "search": _searches(database, size, 100 if plan.quick else 400),
            "bytes_a_row": database.stat().st_size / size.rows,
            "indexed_bytes_a_row": path_of(database).stat().st_size / size.rows,
            "start_s": start_s[size],
        }
    return {"rows": found}


async def _turns_and_wakes(
    folder: Path, sizes: Sequence[Size], rounds: int
) -> dict[tuple[str, Size], list[float]]:
    """Return microseconds, by what was measured and the size."""
    databases = {size: copy_of(size, folder / str(size.rows)) for size in sizes}
    taken_us: dict[tuple[str, Size], list[float]] = defaultdict(list)
    chance = random.Random(11)
    async with AsyncExitStack() as stack:
        children = {
            size: await stack.enter_async_context(running("the store", _keeper(database, size)))
            for size, database in databases.items()
        }
        for what in ("wake", "turn"):
            for database in databases.values():
                machine.drop_from_memory(database)
            for _ in range(rounds):
                for size, child in children.items():
                    numbers = chance.sample(range(size.channels), TURNS)
                    answer = await child.ask(what, numbers=numbers)
                    taken_us[what, size] += answer["taken_us"]
    return taken_us


async def _starts(folder: Path, sizes: Sequence[Size], count: int) -> dict[Size, Spread]:
    """Return the seconds until an engine is ready, with each database."""
    seconds: dict[Size, list[float]] = defaultdict(list)
    async with stage(folder) as around:
        commands = {}
        for size in sizes:
            storage = {"path": str(cached_database(size))}
            commands[size] = around.command(Variant(f"rows-{size.rows}", storage=storage))
        for _ in range(count):
            for size, command in commands.items():
                began = perf_counter()
                async with running("an engine", command) as child:
                    seconds[size].append(perf_counter() - began)
                    if "is ready" not in child.ready:
                        raise ChildFailed(f"{child.name} is not ready: {child.ready}")
    return {size: spread(found) for size, found in seconds.items()}


def _searches(database: Path, size: Size, count: int) -> Result:
    """Time `count` searches of each kind, with the index up to date; each opens it again."""
    chance = random.Random(5)
    taken_us: dict[str, list[float]] = defaultdict(list)
    for _ in range(count):
        drawn = {
            "common words": word(chance.randrange(30)),
            "rare words": tag(chance.randrange(size.rows)),
            "two words": f"{word(chance.randrange(60))} {word(chance.randrange(60, 400))}",
        }
        for kind, words in drawn.items():
            began = perf_counter()
            found = _search(database, words)
            taken_us[kind].append((perf_counter() - began) * 1e6)
            assert found or kind == "two words", words
    return {kind: latencies(each) for kind, each in taken_us.items()}


def _search(database: Path, words: str) -> int:
    """Search for the newest hits, as the command does; return how many there are."""
    options: dict[str, Any] = {"best": False, "warn": print, "on_progress": lambda *_: None}
    return len(search(database, to_match(words), Selection(), HITS, **options))
