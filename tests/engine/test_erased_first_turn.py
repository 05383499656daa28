"""A message that is erased in a channel's first running turn is in no later prompt."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine import LLMService
from engine.operations.erasure import REQUEST_KIND, Eraser
from providers import ScriptedProvider
from storage.admin_requests import AdminRequest
from storage.erasure import Scope
from tests.support.channel_writes import held
from tests.support.service_calls import Gate

WORD = "xylophonic"
ORDER = AdminRequest(1, REQUEST_KIND, {"scope": Scope(user="mallory").to_json()}, 0)
STEPS = 50  # of the event loop; more than a turn takes between two writes


class Talk:
    """A channel whose first turn in this process is Mallory's, and Bob waits behind it."""

    def __init__(self, service: LLMService, provider: ScriptedProvider, gate: Gate) -> None:
        self._provider = provider
        self.gate = gate
        self._service = service
        engine = service.inspect().engine
        self.store = engine.database
        self._eraser = Eraser(engine.database, engine.supervisor)
        self._told: list[asyncio.Task[object]] = []

    def tell(self, text: str, user: str) -> None:
        told = asyncio.create_task(self._service.chat(text, "#a", username=user))
        self._told.append(told)

    async def erase(self) -> None:
        await self._eraser.carry_out(ORDER)

    async def check(self) -> None:
        """Let all be answered; no later prompt has the word, and neither has the history."""
        await self.gate.let(100)
        await asyncio.gather(*self._told, return_exceptions=True)
        await self._service.chat("And after that?", "#a", username="bob")
        await self._eraser.aclose()
        prompts = [str(call.messages) for call in self._provider.calls]
        others = [prompt for prompt in prompts if "And " in prompt]
        assert len(others) == 2
        assert WORD not in "".join(others)
        assert WORD not in await self.store.write(_history)


def _history(connection: sqlite3.Connection) -> str:
    return str(connection.execute("SELECT content FROM history").fetchall())


@asynccontextmanager
async def talk(path: Path, *, woken: bool) -> AsyncIterator[Talk]:
    if woken:
        async with LLMService(ScriptedProvider(), database=path) as service:
            await service.chat("Hello", "#a", username="bob")
    gate = Gate()
    provider = ScriptedProvider(script=gate)
    async with LLMService(provider, database=path) as service:
        yield Talk(service, provider, gate)


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


woken = pytest.mark.parametrize("woken", [False, True], ids=["new", "woken"])


@woken
async def test_erased_while_the_model_answers(tmp_path: Path, woken: bool) -> None:
    async with talk(tmp_path / "db", woken=woken) as channel:
        channel.tell(f"It is {WORD}", "mallory")
        await channel.gate.until(1)
        channel.tell("And now?", "bob")
        await channel.erase()
        await channel.check()


@woken
async def test_erased_in_the_commit_of_its_outcome(tmp_path: Path, woken: bool) -> None:
    async with talk(tmp_path / "db", woken=woken) as channel:
        channel.tell(f"It is {WORD}", "mallory")
        await channel.gate.until(1)
        channel.tell("And now?", "bob")
        await steps(STEPS)
        async with held(channel.store):
            erasing = asyncio.create_task(channel.erase())
            await steps(1)  # the erasure's first write comes before the outcome's
            await channel.gate.let(1)
            await steps(STEPS)
        await channel.gate.until(2)
        await erasing
        await channel.check()


@woken
async def test_erased_while_its_conversation_is_read(tmp_path: Path, woken: bool) -> None:
    async with talk(tmp_path / "db", woken=woken) as channel:
        channel.tell(f"It is {WORD}", "mallory")
        await steps(1)
        async with held(channel.store):
            erasing = asyncio.create_task(channel.erase())
            await steps(STEPS)
        channel.tell("And now?", "bob")
        await erasing
        await channel.check()


@woken
@pytest.mark.parametrize("count", range(4, 40, 4))
async def test_erased_at_any_step(tmp_path: Path, woken: bool, count: int) -> None:
    async with talk(tmp_path / "db", woken=woken) as channel:
        await channel.gate.let(1)
        channel.tell(f"It is {WORD}", "mallory")
        await steps(count)
        await channel.erase()
        channel.tell("And now?", "bob")
        await channel.check()
