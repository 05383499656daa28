"""The section `footprint`: memory of a resident channel, and of an engine with many channels.

`python -m tests.bench.store.footprint DATABASE` is the process that measures a resident channel: it
has an engine in it, and runs a turn in each channel of the large database. Its question `measure`
has `warm`, how many channels are not counted, and `counted`.
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

from engine.api.service import LLMService
from engine.config.loading import parse
from providers.base import Message, Options
from providers.scripted import ScriptedProvider
from tests.bench import children, machine
from tests.bench.children import module, running
from tests.bench.figures import Plan, Result, spread
from tests.bench.stage import FAST_MODEL, Engine, Variant, stage
from tests.bench.store import grown
from tests.bench.store.grown import WINDOW, Size, channel, copy_of

RESIDENT_SIZE = Size(channels=20_000, exchanges=5)
KNOWN_SIZE = Size(channels=1_000_000, exchanges=1)
WARM = 5000  # more than fit into the bounded caches
RESIDENT = 10_000
AT_ONCE = 64
CALM_S = 7.0  # longer than until the next snapshots, shorter than until passivation
SNAPSHOT_INTERVAL_S = 0.5  # of the engine in the process, whose calm is therefore shorter
SHORT_CALM_S = 2.0
MB = 10**6


async def footprint(folder: Path, plan: Plan) -> Result:
    """Measure channel_kb, of an idle channel with a full window, in several processes.

    The rest is the memory of whole engines. empty: without channels; the others are more than it.
    known: with a million on disk. known_and_resident: with RESIDENT of them in memory, idle.
    """
    residents = copy_of(RESIDENT_SIZE, folder / "residents")
    counted = 5000 if plan.quick else 10_000
    channel_kb = []
    for _ in range(1 if plan.quick else 3):
        async with running("an engine", module("store.footprint", str(residents))) as child:
            answer = await child.ask("measure", warm=WARM, counted=counted)
        channel_kb.append(answer["bytes_a_channel"] / 1000)
    # Not a new database: creating its schema takes memory that no later start takes.
    nothing, known = folder / "nothing.db", copy_of(KNOWN_SIZE, folder / "known-channels")
    await grown.grow(nothing, Size(channels=0, exchanges=0))
    machine.drop_from_memory(known)
    without = Variant("empty", storage={"path": str(nothing)})
    with_known = Variant("known", storage={"path": str(known)})
    names = [channel(n) for n in range(0, KNOWN_SIZE.channels, KNOWN_SIZE.channels // RESIDENT)]
    async with stage(folder) as around:
        async with around.running(without) as engine:
            empty_mb = _mb(engine)
        async with around.running(with_known) as engine:
            known_mb = _mb(engine)
            for _ in range(WINDOW // 2):
                await engine.by_request(FAST_MODEL).visit(names, at_once=AT_ONCE)
            await asyncio.sleep(CALM_S)
            resident_mb = _mb(engine)
    return {
        "channel_kb": spread(channel_kb),
        "empty_mb": empty_mb,
        "known_mb": known_mb - empty_mb,
        "known_and_resident_mb": resident_mb - empty_mb,
    }


def _mb(engine: Engine) -> float:
    return machine.rss_bytes(engine.process.pid) / MB


class Residents:
    """An engine whose channels get one turn each, in this process."""

    def __init__(self, service: LLMService) -> None:
        self._service = service
        self._numbers = count(2**30)

    async def measure(self, *, warm: int, counted: int) -> dict[str, float]:
        before = await self._wake(range(warm))
        after = await self._wake(range(warm, warm + counted))
        assert self._service.statistics().actors == warm + counted
        return {"bytes_a_channel": (after - before) / counted}

    async def _wake(self, numbers: range) -> int:
        """Run a turn in each channel and return our memory when all are idle."""
        left = iter(numbers)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self._visit(left))
        await asyncio.sleep(SHORT_CALM_S)  # snapshots are taken in this time
        assert self._service.statistics().commands == 0
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
        if trim is not None:
            trim(0)
        return machine.rss_bytes(os.getpid())

    async def _visit(self, left: Iterator[int]) -> None:
        for number in left:
            text = grown.text(next(self._numbers))
            await self._service.chat(text, channel(number), username=grown.user(number))


async def _answer(messages: Sequence[Message], _: Options) -> AsyncIterator[str]:
    # The persona and the window; the new message may take one message's place in it.
    assert len(messages) >= WINDOW - 1, len(messages)
    yield "a" * grown.TEXT_BYTES


async def main(database: str) -> None:
    provider = ScriptedProvider(script=_answer)
    provider.calls = deque(maxlen=0)  # the provider's own memory must not be counted
    channels = {
        "resident_limit": 10**6,
        "passivate_after_s": 3600.0,
        "snapshot_interval_s": SNAPSHOT_INTERVAL_S,
    }
    settings = parse({"channels": channels, "storage": {"search_index": False}}, Path.cwd())
    async with LLMService(provider, settings=settings, database=Path(database)) as service:
        await children.answer_questions(Residents(service))


if __name__ == "__main__":
    children.run(main(*sys.argv[1:]))
