"""A chosen model outlives a killed service, an erased user and an older snapshot."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine import LLMService
from engine.config.loading import parse
from providers import ScriptedProvider
from storage.erasure import Scope
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.service_process import configuration, running


def config(llm: LLMServer) -> dict[str, Any]:
    return configuration(
        llm,
        models={"allow": ["openai/*"]},
        permissions={"model": "*"},
        channels={"snapshot_interval_s": 3600.0},
    )


def waiting(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "data" / "rosey-llm.db")) as connection:
        rows = connection.execute("SELECT request_id FROM mailbox ORDER BY id")
        return [request_id for (request_id,) in rows]


@pytest.mark.process
async def test_a_killed_service_goes_on_with_the_model_in_the_order_of_the_room(
    tmp_path: Path, llm: LLMServer
) -> None:
    hold = asyncio.Event()
    async with running(tmp_path, config(llm)) as service:
        await service.bot.ask("model first", request_id="switched")
        await service.bot.ask("One", request_id="one")
        llm.plan(Behaviour(hold=hold))
        await service.bot.chat("Two", request_id="two")
        await llm.wait_for_requests(2)
        # These wait on disk behind the answer that the kill will cut off.
        await service.bot.chat("model second", request_id="switch")
        await service.bot.chat("Three", request_id="three")
        await service.bot.flush()
        await service.logged(lambda: waiting(tmp_path) == ["two", "switch", "three"])
        await service.kill()
    hold.set()
    async with running(tmp_path, config(llm)) as service:
        found = {
            name: await service.bot.ask_until_answered("again", request_id=name)
            for name in ("switched", "one", "two", "switch", "three")
        }
        shown = await service.bot.ask("model")
        await service.end()
    assert {name: answer["model"] for name, answer in found.items()} == {
        "switched": "first",
        "one": "first",
        "two": "first",
        "switch": "second",
        "three": "second",
    }
    assert shown["content"].startswith("Model: openai/second. ")
    asked = [request.body["model"] for request in llm.requests]
    assert asked == ["first", "first", "first", "second"]
    with closing(sqlite3.connect(tmp_path / "data" / "rosey-llm.db")) as connection:
        rows = connection.execute("SELECT model FROM history WHERE kind = 'model' ORDER BY id")
        assert rows.fetchall() == [("first",), ("second",)]


def service(folder: Path, provider: ScriptedProvider) -> LLMService:
    settings = parse(
        {"models": {"allow": ["scripted/*"]}, "permissions": {"admins": ["alice"]}}, folder
    )
    return LLMService(provider, settings=settings, database=folder / "chat.db")


async def test_who_chose_is_erased_and_what_was_chosen_stays(tmp_path: Path) -> None:
    provider = ScriptedProvider()
    async with service(tmp_path, provider) as bot:
        await bot.set_model("scripted/big", username="alice")
        eraser = bot.inspect().engine.eraser
        swept = await eraser.sweep([(Scope(user="alice"), 10**9)], compact=False)
        assert swept.rows == 1
        assert (await bot.chat("Hi", username="bob")).model == "big"
    with closing(sqlite3.connect(tmp_path / "chat.db")) as connection:
        switch = "SELECT username, model, erased_ms > 0 FROM history WHERE kind = 'model'"
        assert connection.execute(switch).fetchall() == [(None, "big", 1)]


async def test_rows_after_a_snapshot_of_an_older_version_count(tmp_path: Path) -> None:
    provider = ScriptedProvider()
    async with service(tmp_path, provider) as bot:
        await bot.chat("Hi", username="alice")
    with closing(sqlite3.connect(tmp_path / "chat.db")) as connection:
        (body,) = connection.execute("SELECT body FROM snapshot").fetchone()
    assert b"model" not in body  # it is as older versions wrote it
    async with service(tmp_path, provider) as bot:
        await bot.set_model("big", username="alice")
    async with service(tmp_path, provider) as bot:
        assert (await bot.chat("Hi")).model == "big"
        await bot.set_model("default", username="alice")
    async with service(tmp_path, provider) as bot:
        assert (await bot.chat("Hi")).model == "scripted"
