"""The engine in process: the same actors, the same order, no NATS."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from pathlib import Path

import pytest

from engine import LLMError, LLMService
from engine.config.loading import parse
from providers import OllamaProvider, ScriptedProvider
from providers.base import Message, Options
from providers.errors import ModelNotFound
from tests.fakes.llm_server import LLMServer
from tests.support.patience import WAIT_S
from tests.support.service_calls import Gate, asking


async def test_the_readmes_first_lines_work(llm: LLMServer) -> None:
    service = LLMService(provider=OllamaProvider(config={"base_url": llm.url}))
    answer = await service.chat("Hello", channel_id="main")
    assert (answer.content, answer.provider) == ("You said: Hello", "ollama")
    await service.aclose()


async def test_a_conversation_is_remembered_and_reset() -> None:
    provider = ScriptedProvider()
    async with LLMService(provider) as service:
        await service.chat("one")
        await service.chat("two")
        assert [m.content for m in provider.calls[-1].messages][1:] == [
            "one",
            "You said: one",
            "two",
        ]
        assert "4 messages" in (await service.reset()).content
        await service.chat("three")
        assert [m.content for m in provider.calls[-1].messages][1:] == ["three"]


async def test_one_turn_at_a_time_in_a_channel_and_channels_side_by_side() -> None:
    gate = Gate()
    async with LLMService(ScriptedProvider(script=gate)) as service:
        asks = [asking(service, f"{c}{n}", c) for n in range(3) for c in "ab"]
        await gate.until(2)
        assert sorted(gate.calls) == ["a0", "b0"]
        await gate.let(6)
        answers = await asyncio.gather(*asks)
    assert [a.content for a in answers] == [f"re: {c}{n}" for n in range(3) for c in "ab"]
    assert [call for call in gate.calls if call[0] == "a"] == ["a0", "a1", "a2"]
    assert gate.most_running == 2


async def test_personas_are_per_channel() -> None:
    async with LLMService(ScriptedProvider()) as service:
        assert service.personas == ["default", "concise", "technical", "creative"]
        await service.set_persona("CREATIVE", "a")
        assert (await service.chat("x", "a")).persona == "creative"
        assert (await service.chat("x", "b")).persona == "default"
        assert "Persona: creative." in (await service.show_personas("a")).content
        with pytest.raises(LLMError, match="is unknown") as caught:
            await service.set_persona("pirate")
        assert caught.value.code == "unknown_persona"


async def test_a_persona_may_bring_its_own_model_and_settings(tmp_path: Path) -> None:
    persona = {"prompt": "Arr", "model": "parrot", "temperature": 1.5, "max_tokens": 3}
    settings = parse({"personas": {"Pirate": persona}}, tmp_path)
    provider = ScriptedProvider()
    async with LLMService(provider, settings=settings) as service:
        await service.set_persona("pirate")
        await service.chat("x")
        await service.chat("x", model="own", temperature=0.0, max_tokens=9)
    options = [call.options for call in provider.calls]
    assert options == [Options("parrot", 1.5, 3), Options("own", 0.0, 9)]
    assert provider.calls[0].messages[0] == Message("system", "Arr")


async def test_a_failed_turn_raises_its_code_and_leaves_the_window() -> None:
    provider = ScriptedProvider({"fail": "model_not_found"})
    async with LLMService(provider) as service:
        with pytest.raises(LLMError) as caught:
            await service.chat("x")
    assert caught.value.code == ModelNotFound.code


@pytest.mark.parametrize("text", ["", "  ", "a\0b", "x" * 65537])
async def test_an_invalid_message_is_refused(text: str) -> None:
    async with LLMService(ScriptedProvider()) as service:
        with pytest.raises(LLMError) as caught:
            await service.chat(text)
    assert caught.value.code == "invalid_request"


async def test_stop_ends_the_answer_and_the_next_one_goes_on() -> None:
    gate = Gate()
    async with LLMService(ScriptedProvider(script=gate)) as service:
        long, short = asking(service, "long"), asking(service, "short")
        await gate.until(1)
        assert (await service.stop()).content == "Stopped."
        with pytest.raises(LLMError) as caught:
            await long
        assert caught.value.code == "cancelled"
        await gate.let()
        assert (await short).content == "re: short"


async def test_a_stop_right_behind_the_message_stops_it() -> None:
    gate = Gate()
    async with LLMService(ScriptedProvider(script=gate)) as service:
        await service.start()
        long = asking(service, "long")
        stop = asyncio.create_task(service.stop())
        assert (await stop).content == "Stopped."
        with pytest.raises(LLMError, match="was stopped"):
            await long


async def test_a_restart_goes_on_where_the_channel_was(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with LLMService(ScriptedProvider(), database=path) as service:
        await service.set_persona("concise")
        await service.chat("one")
    provider = ScriptedProvider()
    async with LLMService(provider, database=path) as service:
        answer = await service.chat("two")
    assert answer.persona == "concise"
    assert [m.content for m in provider.calls[-1].messages][1:] == ["one", "You said: one", "two"]


async def test_history_alone_gives_the_same_conversation_as_a_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with LLMService(ScriptedProvider(), database=path) as service:
        await service.set_persona("technical")
        for number in range(12):
            await service.chat(f"m{number}")
    prompts = []
    for statement in ("SELECT 1", "UPDATE snapshot SET body = x'00'", "DELETE FROM snapshot"):
        connection = sqlite3.connect(path)
        with connection:
            connection.execute(statement)
        connection.close()
        provider = ScriptedProvider()
        async with LLMService(provider, database=path) as service:
            await service.chat("and now?", persona=None)
            await service.reset()
            for number in range(12):
                await service.chat(f"m{number}")
        prompts.append(provider.calls[0].messages)
    assert prompts[0] == prompts[1] == prompts[2]
    assert len(prompts[0]) == 10


async def test_closing_finishes_the_running_turn_and_keeps_what_waits(tmp_path: Path) -> None:
    gate, path = Gate(), tmp_path / "chat.db"
    service = LLMService(ScriptedProvider(script=gate), database=path)
    await service.start()
    running, waiting = asking(service, "running"), asking(service, "waiting")
    await gate.until(1)
    closing = asyncio.create_task(service.aclose())
    await gate.let(1)
    assert (await running).content == "re: running"
    with pytest.raises(LLMError, match="closed"):
        await waiting
    await closing
    provider = ScriptedProvider()
    async with LLMService(provider, database=path) as service:
        assert (await service.chat("next")).content == "You said: next"
    assert [call.messages[-1].content for call in provider.calls] == ["waiting", "next"]


@pytest.mark.process
async def test_requests_of_other_processes_are_carried_out(tmp_path: Path) -> None:
    path = tmp_path / "rosey-llm.db"
    async with LLMService(ScriptedProvider(), database=path) as service:
        await service.chat("my secret is 42", username="mallory")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "engine.cli", "history", "erase", "--user", "mallory", "--yes"),
            *("--database", str(path)),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(WAIT_S):
            output, _ = await process.communicate()
        assert process.returncode == 0
        assert b"Erased: 2 rows" in output
        await service.chat("Hello")
    assert b"secret" not in path.read_bytes()


async def test_in_memory_nothing_is_left_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with LLMService(ScriptedProvider(), database=":memory:") as service:
        assert (await service.chat("Hello")).content
    assert list(tmp_path.iterdir()) == []
