"""A process with an engine in it that measures the memory of resident channels.

`python -m tests.bench.store.residents DATABASE FIRST WARM COUNT` runs a turn in each channel of the
large database from FIRST on; the first WARM channels are not counted. It writes
`{"bytes_a_channel": ...}`.
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

import uvloop

from engine.api.service import LLMService
from engine.config.loading import parse
from providers.base import Message, Options
from providers.scripted import ScriptedProvider
from tests.bench import machine
from tests.bench.children import write_line
from tests.bench.store import grown, texts

AT_ONCE = 64
SNAPSHOT_INTERVAL_S = 0.5
CALM_S = 2.0
LIMIT_S = 120.0


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
        yield texts.text(next(self._numbers))

    async def wake(self, numbers: range) -> int:
        """Run a turn in each channel and return our memory when all are idle."""
        left = iter(numbers)
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self._visit(left))
        await asyncio.sleep(CALM_S)  # snapshots are taken in this time
        assert self.service.statistics().commands == 0
        return _memory_bytes()

    async def _visit(self, left: Iterator[int]) -> None:
        for number in left:
            text = texts.text(next(self._numbers))
            await self.service.chat(text, grown.channel(number), username=grown.user(number))


def _memory_bytes() -> int:
    """Return our resident memory, after giving free memory back."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
    return machine.rss_bytes(os.getpid())


async def main(database: str, first: int, warm: int, counted: int) -> None:
    residents = Residents(Path(database))
    write_line({})
    async with residents.service as service:
        before = await residents.wake(range(first, first + warm))
        after = await residents.wake(range(first + warm, first + warm + counted))
        assert service.statistics().actors == warm + counted
    # The persona and the window; the new message may take one message's place in it.
    assert residents.shortest >= grown.WINDOW - 1, residents.shortest
    write_line({"bytes_a_channel": (after - before) / counted})


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], *(int(each) for each in sys.argv[2:])))
