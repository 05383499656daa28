"""The engine in process: the same actors, the same order, no NATS."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import sys
import weakref
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from engine import Answer, LLMError, LLMService
from engine.actors import restarts
from engine.answering import abandonable
from engine.config.loading import parse
from providers import OllamaProvider, ScriptedProvider
from providers.base import Completion, LLMProvider, Message, Options
from providers.errors import ModelNotFound
from tests.fakes.llm_server import LLMServer


class Gate:
    """A provider script whose calls wait until the test lets them through."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.running = 0
        self.most_running = 0
        self._more = asyncio.Condition()
        self._let = 0

    async def __call__(self, messages: Sequence[Message], _: Options) -> AsyncIterator[str]:
        async with self._more:
            self.calls.append(messages[-1].content)
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self._more.notify_all()
        try:
            async with self._more:
                await self._more.wait_for(lambda: self._let > 0)
                self._let -= 1
            yield f"re: {messages[-1].content}"
        finally:
            self.running -= 1

    async def let(self, count: int = 1) -> None:
        async with self._more:
            self._let += count
            self._more.notify_all()

    async def until(self, calls: int) -> None:
        async with asyncio.timeout(20), self._more:
            await self._more.wait_for(lambda: len(self.calls) >= calls)


def defect(path: Path, when: str) -> None:
    """Make the engine crash whenever it stores such a history row."""
    connection = sqlite3.connect(path)
    connection.execute(
        f"CREATE TRIGGER defect BEFORE INSERT ON history WHEN {when}"
        " BEGIN SELECT RAISE(ABORT, 'a defect of ours'); END"
    )
    connection.close()


def rows_of(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def asking(service: LLMService, text: str, channel: str = "main") -> asyncio.Task[Answer]:
    return asyncio.create_task(service.chat(text, channel))


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
        assert "is creative" in (await service.show_personas("a")).content
        with pytest.raises(LLMError, match="There is no persona") as caught:
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
        with pytest.raises(LLMError, match="Stopped"):
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


async def test_a_crash_of_one_actor_touches_no_other_and_the_command_is_tried_once_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    provider, path = ScriptedProvider(), tmp_path / "chat.db"
    async with LLMService(provider, database=path) as service:
        defect(path, "new.content = 'You said: poison'")
        sick, well = asking(service, "poison", "sick"), asking(service, "y", "well")
        behind = asking(service, "z", "sick")
        assert (await well).content == "You said: y"
        with pytest.raises(LLMError) as caught:
            await sick
        assert caught.value.code == "internal"
        assert rows_of(path, "SELECT count(*) FROM history WHERE content = 'poison'") == [(1,)]
        assert (await behind).content == "You said: z"
    assert "The actor of channel 'sick' crashed." in caplog.text
    assert [call.messages[-1].content for call in provider.calls].count("poison") == 2


class Stuck(LLMProvider):
    """A provider that ignores cancellation until it is released."""

    kind = "stuck"

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()
        self.asked = 0

    async def chat(self, messages: Sequence[Message], options: Options) -> Completion:
        self.asked += 1
        while self.asked == 1 and not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                continue
        return Completion(f"late: {messages[-1].content}", "stuck")

    async def is_available(self) -> bool:
        return True


async def test_a_stuck_turn_is_given_up_and_its_late_result_is_neither_kept_nor_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abandonable, "GRACE_S", 0.01)
    settings = parse({"conversation": {"turn_timeout_s": 0.05}}, tmp_path)
    provider, path = Stuck(), tmp_path / "chat.db"
    async with LLMService(provider, settings=settings, database=path) as service:
        with pytest.raises(LLMError) as caught:
            await service.chat("stuck", request_id="r")
        assert caught.value.code == "provider_timeout"
        provider.let_go.set()
        assert (await service.chat("next")).content == "late: next"
        with pytest.raises(LLMError):
            await service.chat("again", request_id="r")
    assert rows_of(path, "SELECT kind, content FROM history ORDER BY id") == [
        ("message", "stuck"),
        ("error", "There was no answer within 0.05 s."),
        ("message", "next"),
        ("answer", "late: next"),
    ]


async def test_a_channel_that_crashes_too_often_is_suspended_also_over_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarts, "CRASH_LIMIT", 0)
    path = tmp_path / "chat.db"
    async with LLMService(ScriptedProvider(), database=path) as service:
        defect(path, "new.content = 'poison'")
        poisoned = asking(service, "poison", "sick")
        async with asyncio.timeout(20):
            while not rows_of(path, "SELECT * FROM suspension"):
                await asyncio.wait({poisoned}, timeout=0.01)
        with pytest.raises(LLMError) as caught:
            await service.chat("x", "sick")
        assert caught.value.code == "suspended"
        assert 0 < (caught.value.retry_after_s or 0) <= 60
        assert (await service.chat("y", "well")).content == "You said: y"
    with pytest.raises(LLMError, match="closed"):
        await poisoned
    async with LLMService(ScriptedProvider(), database=path) as service:
        with pytest.raises(LLMError) as caught:
            await service.chat("x", "sick")
        assert caught.value.code == "suspended"
    # Once the defect is gone, the trial after the pause succeeds and ends the suspension.
    monkeypatch.setattr(restarts, "SUSPENSION_S", 0.0)
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER defect")
    connection.close()
    async with LLMService(ScriptedProvider(), database=path) as service:
        assert (await service.chat("x", "sick")).content == "You said: x"
    assert rows_of(path, "SELECT * FROM suspension") == []
    assert rows_of(path, "SELECT content FROM history WHERE kind = 'answer' ORDER BY id") == [
        ("You said: y",),
        ("You said: poison",),
        ("You said: x",),
    ]


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
    assert {error.code for error in refused} == {"busy"}
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


async def test_a_stop_while_the_channel_is_suspended_stops_the_waiting_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarts, "CRASH_LIMIT", 0)
    monkeypatch.setattr(restarts, "SUSPENSION_S", 3.0)
    path = tmp_path / "chat.db"
    async with LLMService(ScriptedProvider(), database=path) as service:
        defect(path, "new.content = 'poison'")
        poisoned = asking(service, "poison")
        async with asyncio.timeout(20):
            while not rows_of(path, "SELECT * FROM suspension"):
                await asyncio.wait({poisoned}, timeout=0.01)
        connection = sqlite3.connect(path)
        connection.execute("DROP TRIGGER defect")
        connection.close()
        assert (await service.stop()).content == "Stopped."
        with pytest.raises(LLMError) as caught:
            await poisoned
        assert caught.value.code == "cancelled"


async def test_a_waiting_command_of_another_version_ends_as_internal_and_the_rest_goes_on(
    tmp_path: Path,
) -> None:
    path = tmp_path / "chat.db"
    async with LLMService(ScriptedProvider(), database=path) as service:
        await service.chat("Hi")
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "INSERT INTO mailbox (channel_id, request_id, username, body, replies, attempts,"
            " accepted_ms) VALUES (1, 'new', 'alice', ?, '[]', 0, 0)",
            (b'["Summarize", {}]',),
        )
    connection.close()
    async with LLMService(ScriptedProvider(), database=path) as service:
        assert (await service.chat("Hi")).content == "You said: Hi"
        with pytest.raises(LLMError, match="another version"):
            await service.chat("again", request_id="new")


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
        async with asyncio.timeout(50):
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
