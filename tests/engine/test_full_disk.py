"""On a full disk every message hears `busy` at once, and what was accepted is answered later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.full_disk import fill, make_room
from tests.support.patience import until
from tests.support.service_harness import House

LONG = "word " * 40_000 + "end"
KINDS = ("hello", "stop", "reset", "persona creative", "persona", "help")


def held(house: House) -> int:
    assert house.app is not None
    return house.app.inspect().engine.supervisor.statistics().held


async def write(house: House, work: Callable[..., None]) -> None:
    assert house.app is not None
    await house.app.inspect().engine.database.write(work)


async def readiness(house: House) -> tuple[int, Any]:
    assert house.app is not None
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{house.app.http_url}/readyz") as response,
    ):
        return response.status, (await response.json())["parts"]["database"]


async def hold_an_answer(house: House, llm: LLMServer) -> None:
    """Have an answer that cannot be stored, while the database takes small writes."""
    await house.open()
    for channel in ("#lobby", "#other"):
        await house.bot.ask("hello", channel)
    hold = asyncio.Event()
    llm.plan(Behaviour(hold=hold, text=LONG))
    await house.bot.chat("tell me everything", request_id="long")
    await llm.wait_for_requests(3)
    await write(house, fill)
    hold.set()
    await until(lambda: held(house) == 1)


async def test_while_an_answer_is_held_every_message_hears_busy_at_once(
    house: House, llm: LLMServer
) -> None:
    await hold_an_answer(house, llm)
    bot = house.bot
    asked: list[Awaitable[dict[str, Any]]] = [
        bot.ask(line, channel) for channel in ("#lobby", "#other", "#new") for line in KINDS
    ]
    for action in ("chat", "complete"):
        request = {"action": action, "channel_id": "#lobby", "message": "hello"}
        asked.append(bot.call("llm.request", request))
    for refused in await asyncio.gather(*asked):
        assert (refused["type"], refused.get("code")) == ("llm_error", "busy"), refused
        assert "is full" in refused["error"]
        assert refused["retry_after_s"]
    assert held(house) == 1
    await write(house, make_room)
    await bot.until(lambda: any(each["request_id"] == "long" for each in bot.received_outcomes()))
    (answer,) = [each for each in bot.received_outcomes() if each["request_id"] == "long"]
    assert answer["content"] == LONG
    assert (await bot.ask("hello"))["type"] == "llm_response"


async def test_the_service_is_not_ready_while_an_answer_is_held(
    house: House, llm: LLMServer
) -> None:
    await hold_an_answer(house, llm)
    status, database = await readiness(house)
    assert status == 503
    assert f"Turns held until {database_of(house)} can be written: 1." in database["detail"]
    assert "is full" in database["detail"]
    await write(house, make_room)
    await until(lambda: held(house) == 0)
    assert await readiness(house) == (200, {"ok": True, "detail": database_of(house)})


def database_of(house: House) -> str:
    return str(house.folder / "data" / "rosey-llm.db")


async def test_an_outage_with_a_held_answer_is_logged_once_at_its_beginning_and_its_end(
    house: House, llm: LLMServer, caplog: pytest.LogCaptureFixture
) -> None:
    await hold_an_answer(house, llm)
    for _ in range(3):
        await house.bot.ask("hello")
        await readiness(house)
    await write(house, make_room)
    await until(lambda: held(house) == 0)
    lines = [each.getMessage() for each in caplog.records if each.name == "rosey_llm.supervisor"]
    assert len(lines) == 2
    assert database_of(house) in lines[0]
    assert "Free some space" in lines[0]
    storage = [each.levelname for each in caplog.records if each.name == "rosey_llm.storage"]
    assert storage == ["ERROR", "WARNING"]


async def test_a_message_that_cannot_be_stored_hears_busy_before_its_turn(
    house: House, llm: LLMServer
) -> None:
    await house.open()
    hold = asyncio.Event()
    llm.plan(Behaviour(hold=hold))
    await house.bot.chat("tell me everything", request_id="first")
    await llm.wait_for_requests(1)
    await write(house, fill)
    refused = await house.bot.ask("x" * 60_000, request_id="second")
    assert (refused["code"], refused["request_id"]) == ("busy", "second")
    assert not hold.is_set()  # the turn before it still runs
    await write(house, make_room)
    hold.set()
    await house.bot.until(lambda: len(house.bot.received_outcomes()) == 2)
    assert [each["request_id"] for each in house.bot.received_outcomes()] == ["second", "first"]
    assert (await house.bot.ask("x" * 60_000, request_id="second"))["type"] == "llm_response"


async def test_a_stop_whose_answer_is_held_hears_busy(house: House, llm: LLMServer) -> None:
    await house.open()
    llm.plan(Behaviour(pieces=[LONG, "more"], hang_after=1))
    await house.bot.chat("tell me everything", request_id="long", stream=True)
    await house.bot.deltas(1)
    await write(house, fill)
    refused = await house.bot.ask("stop", request_id="s")
    assert (refused["type"], refused.get("code")) == ("llm_error", "busy")
    await write(house, make_room)
    await house.bot.until(lambda: len(house.bot.received_outcomes()) == 2)
    assert house.bot.received_outcomes()[1]["code"] == "cancelled"
    assert [kind for kind, _ in house.history()] == ["message", "cancelled"]


async def test_a_bot_hears_busy_without_a_text_that_it_could_answer(house: House) -> None:
    house.config["access"] = {"answer_bots": True}
    await house.open()
    await house.bot.ask("hello")
    await write(house, fill)
    refused = await house.bot.ask("word " * 8000, is_bot=True)
    assert (refused["code"], refused["error"]) == ("busy", "")
    await house.bot.flush()
    assert [each["type"] for each in house.bot.received_outcomes()] == ["llm_response"]
    await write(house, make_room)
