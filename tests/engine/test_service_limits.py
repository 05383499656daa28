"""The limits of the engine in process: channels in memory, waiting commands and bytes."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path

import pytest

from engine import Answer, LLMError, LLMService
from engine.config.loading import parse
from providers import ScriptedProvider
from tests.support.service_calls import Gate, asking


async def test_an_idle_channel_leaves_memory_and_comes_back_as_it_was(tmp_path: Path) -> None:
    settings = parse({"channels": {"passivate_after_s": 1e-6}}, tmp_path)
    provider = ScriptedProvider()
    async with LLMService(provider, settings=settings) as service:
        await service.set_persona("concise")
        await service.chat("one")
        await service.inspect().engine.supervisor.residents.passivate_idle()
        assert service.statistics().actors == 0
        assert (await service.chat("two")).persona == "concise"
    assert [m.content for m in provider.calls[-1].messages][1:] == ["one", "You said: one", "two"]


async def test_beyond_the_resident_limit_the_longest_idle_channels_are_passivated(
    tmp_path: Path,
) -> None:
    limits = {"resident_limit": 2, "passivate_after_s": 3600.0, "snapshot_interval_s": 3600.0}
    settings = parse({"channels": limits}, tmp_path)
    provider = ScriptedProvider()
    async with LLMService(provider, settings=settings) as service:
        for channel in ("a", "b", "c", "a"):
            await service.chat(f"to {channel}", channel)
        await service.inspect().engine.supervisor.residents.passivate_idle()
        assert [each.channel_id for each in service.inspect().engine.supervisor.residents] == [
            "a",
            "c",
        ]
        await service.chat("again", "b")
    assert [m.content for m in provider.calls[-1].messages][1:] == [
        "to b",
        "You said: to b",
        "again",
    ]


@pytest.mark.parametrize(
    "limits", [{"commands_limit": 2}, {"commands_limit_bytes": 300}, {"mailbox_limit_bytes": 150}]
)
async def test_a_full_engine_answers_busy_and_drops_nothing(
    tmp_path: Path, limits: dict[str, int]
) -> None:
    gate = Gate()
    settings = parse({"channels": limits}, tmp_path)
    async with LLMService(ScriptedProvider(script=gate), settings=settings) as service:
        await service.start()
        asks = [asking(service, f"m{number}") for number in range(6)]
        await gate.until(1)
        await gate.let(6)
        results = await asyncio.gather(*asks, return_exceptions=True)
    refused = [r for r in results if isinstance(r, LLMError)]
    answered = [r.content for r in results if isinstance(r, Answer)]
    assert answered == [f"re: m{number}" for number in range(len(answered))]
    assert refused
    assert {(error.code, error.username, error.action) for error in refused} == {
        ("busy", "User", "chat")
    }
    assert len(answered) + len(refused) == 6


async def test_a_passivated_actor_is_freed_without_the_garbage_collector(
    tmp_path: Path,
) -> None:
    limits = {"resident_limit": 1, "passivate_after_s": 3600.0, "snapshot_interval_s": 3600.0}
    settings = parse({"channels": limits}, tmp_path)
    async with LLMService(ScriptedProvider(), settings=settings) as service:
        await service.start()
        supervisor = service.inspect().engine.supervisor
        gc.disable()
        try:
            await service.chat("Hi", "a")
            await service.chat("Hi", "b")
            actor = weakref.ref(next(iter(supervisor.residents)))
            await supervisor.residents.passivate_idle()
            assert actor() is None
        finally:
            gc.enable()
