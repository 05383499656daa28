"""A test of the memory that an idle channel takes."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

import pytest

from engine.actors.local_ledger import LocalLedger
from engine.commands.outcomes import Answer, Delta, Failure
from engine.commands.records import Chat
from engine.commands.request import Request
from engine.config.loading import parse
from engine.engine import Engine
from providers.base import Completion, LLMProvider, Message, Options
from storage.outbox import Settled
from storage.writer.database import Database

CHANNELS = 300
GROUP = 20
TURNS = 5
TEXT_BYTES = 200
WINDOW_BYTES = 2 * TURNS * TEXT_BYTES
ACTOR_BYTES = 900


class Echo(LLMProvider):
    """A provider that answers with the message and, unlike the scripted one, keeps no calls."""

    async def chat(self, messages: Sequence[Message], options: Options) -> Completion:
        return Completion(messages[-1].content.swapcase(), "echo")

    async def is_available(self) -> bool:
        return True


class Awaited:
    """A sink that waits for a number of outcomes."""

    def __init__(self) -> None:
        self._missing = 0
        self._done = asyncio.Event()

    async def outcomes(self, count: int) -> None:
        self._missing += count
        self._done.clear()
        await self._done.wait()

    def publish(self, outcome: Settled) -> None:
        assert outcome.kind == "response"
        self._missing -= 1
        if not self._missing:
            self._done.set()

    def refuse(self, failure: Failure, replies: tuple[str, ...]) -> None:
        raise AssertionError(failure)

    refuse_privately = refuse_copy = refuse

    def inform(self, answer: Answer, replies: tuple[str, ...]) -> None:
        raise AssertionError(answer)

    def delta(self, delta: Delta) -> bool:
        return True


@pytest.fixture
def sink() -> Awaited:
    return Awaited()


@pytest.fixture
async def engine(sink: Awaited, tmp_path: Path) -> AsyncIterator[Engine]:
    tables = {
        "service": {"max_context_messages": 2 * TURNS},
        # No channel leaves memory before the test passivates it.
        "channels": {"resident_limit": 1, "snapshot_interval_s": 3600.0},
    }
    settings = parse(tables, tmp_path)
    database = Database(None)
    engine = Engine(database, LocalLedger(database), [Echo()], settings, sink)
    await engine.start()
    yield engine
    await engine.drain()
    await engine.aclose()


async def talk(engine: Engine, sink: Awaited, channels: Iterable[int]) -> None:
    names = [f"#channel-{number}" for number in channels]
    for turn in range(TURNS):
        for name in names:
            text = f"{name} {turn} ".ljust(TEXT_BYTES, "x")
            engine.supervisor.tell(Request(name, f"r{turn}", "alice", Chat(text)))
        await sink.outcomes(len(names))
    await engine.database.write(lambda _: None)  # so that the writer frees the previous commit


def traced_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.slow
async def test_an_idle_channel_takes_little_more_memory_than_its_messages(
    engine: Engine, sink: Awaited
) -> None:
    tracemalloc.start()
    try:
        for first in range(0, CHANNELS, GROUP):
            await talk(engine, sink, range(first, first + GROUP))
        resident_bytes = traced_bytes()
        assert engine.supervisor.statistics().actors == CHANNELS
        await engine.supervisor.residents.passivate_idle()
        assert engine.supervisor.statistics().actors == 1
        weight_bytes = (resident_bytes - traced_bytes()) / (CHANNELS - 1)
    finally:
        tracemalloc.stop()
    assert WINDOW_BYTES < weight_bytes < WINDOW_BYTES + ACTOR_BYTES
