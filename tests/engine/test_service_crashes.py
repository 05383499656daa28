"""The engine in process when it crashes, hangs, or finds what it cannot read."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from engine import LLMError, LLMService
from engine.actors import restarts
from engine.answering import abandonable
from engine.config.loading import parse
from providers import ScriptedProvider
from tests.support.patience import WAIT_S
from tests.support.service_calls import Stuck, asking, rows_of


def defect(path: Path, when: str) -> None:
    """Make the engine crash whenever it stores such a history row."""
    connection = sqlite3.connect(path)
    connection.execute(
        f"CREATE TRIGGER defect BEFORE INSERT ON history WHEN {when}"
        " BEGIN SELECT RAISE(ABORT, 'a defect of ours'); END"
    )
    connection.close()


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
        async with asyncio.timeout(WAIT_S):
            while not rows_of(path, "SELECT * FROM suspension"):
                await asyncio.wait({poisoned}, timeout=0.01)
        with pytest.raises(LLMError) as caught:
            await service.chat("x", "sick")
        assert caught.value.code == "suspended"
        assert 0 < (caught.value.retry_after_s or 0) <= 60 * 1.25
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


async def test_a_stop_while_the_channel_is_suspended_stops_the_waiting_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarts, "CRASH_LIMIT", 0)
    path = tmp_path / "chat.db"
    async with LLMService(ScriptedProvider(), database=path) as service:
        defect(path, "new.content = 'You said: poison'")  # a stopped turn has no such row
        poisoned = asking(service, "poison", "sick")
        async with asyncio.timeout(WAIT_S):
            while not rows_of(path, "SELECT * FROM suspension"):
                await asyncio.wait({poisoned}, timeout=0.01)
        stopping = asyncio.create_task(service.stop("sick"))
        await asyncio.sleep(0)
        # It looks into the database for its own outcome, before this turn is written there.
        await service.chat("y", "well")
        assert not stopping.done()
        pass_time(monkeypatch, restarts.SUSPENSION_S)
        assert (await stopping).content == "Stopped."
        with pytest.raises(LLMError) as caught:
            await poisoned
        assert caught.value.code == "cancelled"


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let all that waits for a time in the event loop wait for so much less."""
    loop = asyncio.get_running_loop()
    clock = loop.time
    monkeypatch.setattr(loop, "time", lambda: clock() + seconds)


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
