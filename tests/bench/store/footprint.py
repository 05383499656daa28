"""The section `footprint`: memory of a resident channel, and of an engine with many channels.

`python -m tests.bench.store.footprint DATABASE WARM COUNT` is the process that measures a resident
channel: it has an engine in it, and runs a turn in each channel of the large database; the first
WARM channels are not counted. It writes `{"bytes_a_channel": ...}`.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import count
from pathlib import Path

import orjson

from engine.api.service import LLMService
from engine.config.loading import parse
from providers.base import Message, Options
from providers.scripted import ScriptedProvider
from tests.bench import children, engines, machine
from tests.bench.children import module, running
from tests.bench.engines import Engine, Environment, Variant
from tests.bench.figures import Result, spread
from tests.bench.slices import Plan
from tests.bench.stage import visit
from tests.bench.store import grown, page_cache
from tests.bench.store.grown import WINDOW, Size, channel, copy_of

RESIDENT_SIZE = Size(channels=20_000, exchanges=5)
KNOWN_SIZE = Size(channels=1_000_000, exchanges=1)
WARM = 5000  # more than fit into the bounded caches
COUNTED, QUICK_COUNTED = 10_000, 5000
RESIDENT = 10_000
PROCESSES = 3
AT_ONCE = 64
CHILD_LIMIT_S = 300.0
CALM_S = 7.0  # longer than until the next snapshots, shorter than until passivation
SNAPSHOT_INTERVAL_S = 0.5  # of the engine in the process, whose calm is therefore shorter
SHORT_CALM_S = 2.0
WAKE_LIMIT_S = 120.0


async def measure(folder: Path, plan: Plan) -> Result:
    """Measure bytes_a_channel, of an idle channel with a full window, in several processes.

    The rest is the memory of whole engines. empty: without channels. known: with that many on
    disk. busy: with `resident` of them in memory, right after their turns. resident: later, idle.
    """
    processes = 1 if plan.quick else PROCESSES
    counted = QUICK_COUNTED if plan.quick else COUNTED
    database = await copy_of(RESIDENT_SIZE, folder / "residents")
    each = [await _bytes_a_channel(database, counted) for _ in range(processes)]
    # Not a new database: creating its schema takes memory that no later start takes.
    nothing = folder / "nothing.db"
    await grown.grow(nothing, Size(channels=0, exchanges=0))
    without = Variant("empty", storage={"path": str(nothing)})
    async with engines.environment(folder) as around, engines.engine(around, without) as empty:
        known = await copy_of(KNOWN_SIZE, folder / "known-channels")
        page_cache.forget(known)
        with_known = Variant("known", storage={"path": str(known)})
        async with engines.engine(around, with_known) as engine:
            whole = await _whole(around, empty, engine)
    return {
        "bytes_a_channel": spread(each),
        "processes": processes,
        "known": KNOWN_SIZE.channels,
        "resident": RESIDENT,
        **whole,
    }


async def _bytes_a_channel(database: Path, counted: int) -> float:
    command = module("store.footprint", str(database), str(WARM), str(counted))
    async with running("an engine", command) as child:
        answer = orjson.loads(await child.read_line(CHILD_LIMIT_S))
    return float(answer["bytes_a_channel"])


async def _whole(around: Environment, empty: Engine, engine: Engine) -> dict[str, int]:
    pid, found = engine.process.pid, {"empty_bytes": machine.rss_bytes(empty.process.pid)}
    found["known_bytes"] = machine.rss_bytes(pid)
    step = KNOWN_SIZE.channels // RESIDENT
    names = [channel(number) for number in range(0, KNOWN_SIZE.channels, step)]
    for _ in range(WINDOW // 2):
        await visit(around, engine, names, at_once=AT_ONCE)
    found["busy_bytes"] = machine.rss_bytes(pid)
    await asyncio.sleep(CALM_S)
    found["resident_bytes"] = machine.rss_bytes(pid)
    return found


class Residents:
    """An engine whose channels get one turn each. shortest: the shortest prompt, in messages."""

    def __init__(self, database: Path) -> None:
        provider = ScriptedProvider(script=self._answer)
        provider.calls = deque(maxlen=0)  # the provider's own memory must not be counted
        channels = {
            "resident_limit": 10**6,
            "passivate_after_s": 3600.0,
            "snapshot_interval_s": SNAPSHOT_INTERVAL_S,
        }
        settings = parse({"channels": channels, "storage": {"search_index": False}}, Path.cwd())
        self.service = LLMService(provider, settings=settings, database=database)
        self._numbers = count(2**30)
        self.shortest = sys.maxsize

    async def _answer(self, messages: Sequence[Message], _: Options) -> AsyncIterator[str]:
        self.shortest = min(self.shortest, len(messages))
        yield grown.text(next(self._numbers))

    async def wake(self, numbers: range) -> int:
        """Run a turn in each channel and return our memory when all are idle."""
        left = iter(numbers)
        async with asyncio.timeout(WAKE_LIMIT_S), asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self._visit(left))
        await asyncio.sleep(SHORT_CALM_S)  # snapshots are taken in this time
        assert self.service.statistics().commands == 0
        return _memory_bytes()

    async def _visit(self, left: Iterator[int]) -> None:
        for number in left:
            text = grown.text(next(self._numbers))
            await self.service.chat(text, channel(number), username=grown.user(number))


def _memory_bytes() -> int:
    """Return our resident memory, after giving free memory back."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
    return machine.rss_bytes(os.getpid())


async def main(database: str, warm: int, counted: int) -> None:
    residents = Residents(Path(database))
    children.write_line({})
    async with residents.service as service:
        before = await residents.wake(range(warm))
        after = await residents.wake(range(warm, warm + counted))
        assert service.statistics().actors == warm + counted
    # The persona and the window; the new message may take one message's place in it.
    assert residents.shortest >= WINDOW - 1, residents.shortest
    children.write_line({"bytes_a_channel": (after - before) / counted})


if __name__ == "__main__":
    children.run(main(sys.argv[1], *(int(each) for each in sys.argv[2:])))
