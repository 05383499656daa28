"""Permissions, access and limits over real parts: what is refused, who hears it, what is kept."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import pytest

from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support import scraper
from tests.support.service_harness import House

MOD = {"roles": ["mod"]}


async def chat(house: House, words: str, **more: Any) -> dict[str, Any]:
    message = {"args": words, "channel_id": "#lobby", "username": "alice", **more}
    return await house.bot.call("rosey.command.chat", message)


async def test_a_limit_is_reached_by_user_and_told_with_its_name_and_wait(house: House) -> None:
    house.config["limits"] = {"user_per_minute": 2, "channel_per_minute": 4}
    await house.open()
    for number in range(2):
        assert (await chat(house, f"{number}", user_id="U1"))["content"] == f"You said: {number}"
    error = await chat(house, "more", user_id="U1", username="another name")
    assert 0 < error.pop("retry_after_s") <= 30
    said = error.pop("error")
    assert re.fullmatch(r"You can send 2 messages a minute\. Try again in \d+ s\.", said)
    error.pop("request_id")
    assert error == {
        "type": "llm_error",
        "channel_id": "#lobby",
        "code": "limit_reached",
        "username": "another name",
        "action": "chat",
        "limit": "user_per_minute",
        "scope": "user",
    }
    assert (await chat(house, "help", user_id="U1"))["action"] == "help"
    for name in ("bob", "carol"):
        assert "content" in await chat(house, "Hi", username=name)
    error = await chat(house, "Hi", username="dave")
    assert (error["limit"], error["scope"]) == ("channel_per_minute", "channel")
    assert error["error"].startswith("This channel can send 4 messages a minute.")
    assert len(house.history()) == 9
    assert house.app is not None
    _, text, _ = await scraper.get(f"{house.app.http_url}/metrics")
    assert 'rosey_llm_limited_total{limit="user_per_minute",scope="user"} 1.0' in text


async def test_a_request_that_is_sent_again_costs_no_token(house: House) -> None:
    house.config["limits"] = {"user_per_minute": 2}
    await house.open()
    for _ in range(5):
        assert "content" in await chat(house, "Hi", request_id="r1")
    assert "content" in await chat(house, "Hi")
    assert (await chat(house, "Hi"))["code"] == "limit_reached"


async def test_a_role_is_needed_and_the_id_of_a_refused_request_may_come_again(
    house: House,
) -> None:
    house.config["permissions"] = {"trust_roles": True, "reset": "mod"}
    await house.open()
    error = await chat(house, "reset", request_id="r1")
    assert (error["code"], error["error"]) == (
        "not_allowed",
        'Only people with the role "mod" may reset this conversation.',
    )
    assert house.history() == []
    assert (await chat(house, "reset", request_id="r1", **MOD))["action"] == "reset"


async def test_a_bot_hears_nothing_and_its_reply_subject_an_error_without_text(
    house: House,
) -> None:
    await house.open()
    error = await chat(house, "Hi", is_bot=True)
    assert (error["code"], error["error"]) == ("not_allowed", "")
    assert "content" in await chat(house, "Hi")
    assert [each["type"] for each in await house.bot.outcomes(1)] == ["llm_response"]


async def test_what_a_bot_sends_wrongly_gets_no_text_either(house: House) -> None:
    house.config |= {"access": {"answer_bots": True}, "limits": {"user_per_minute": 1}}
    await house.open()
    assert "content" in await chat(house, "Hi", is_bot=True)
    error = await chat(house, "Hi", is_bot=True)
    assert (error["code"], error["error"]) == ("limit_reached", "")


async def test_what_a_bot_sends_that_is_not_valid_gets_no_text_either(house: House) -> None:
    await house.open()
    for wrong in ({"roles": "mod"}, {"args": "x" * 70_000}, {"channel_id": ""}):
        error = await chat(house, "Hi", is_bot=True, **wrong)
        assert (error["code"], error["error"]) == ("invalid_request", "")
    assert "content" in await chat(house, "Hi")
    assert [each["type"] for each in await house.bot.outcomes(1)] == ["llm_response"]


async def test_a_stop_that_a_bot_may_not_give_gets_no_text_either(
    house: House, llm: LLMServer
) -> None:
    house.config |= {"access": {"answer_bots": True}, "permissions": {"stop_others": "admin"}}
    await house.open()
    never = asyncio.Event()
    llm.plan(Behaviour(hold=never))
    await house.bot.chat("tell me everything")
    await llm.wait_for_requests(1)
    error = await chat(house, "stop", username="robot", is_bot=True)
    assert (error["code"], error["error"]) == ("not_allowed", "")
    await house.bot.flush()
    assert house.bot.received == []
    never.set()


async def test_a_reload_takes_up_who_may_do_what(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rosey_llm.admission")
    await house.open()
    assert (await chat(house, "reset"))["action"] == "reset"
    house.config |= {"permissions": {"reset": "admin"}, "access": {"users_deny": ["bob"]}}
    await house.reload()
    for _ in range(3):
        assert (await chat(house, "reset"))["code"] == "not_allowed"
    assert (await chat(house, "Hi", username="Bob"))["error"] == ""
    assert [record.getMessage() for record in caplog.records] == [
        "A sender in channel '#lobby' is refused: Only admins may reset this conversation.",
        "A sender in channel '#lobby' is refused: it is not to be heard",
    ]


async def test_only_a_role_may_stop_the_answer_to_somebody_else(
    house: House, llm: LLMServer
) -> None:
    house.config["permissions"] = {"trust_roles": True, "stop_others": "mod"}
    await house.open()
    llm.plan(Behaviour(hang_after=1))
    await house.bot.chat("tell me everything", request_id="long")
    await house.bot.deltas(1)
    error = await chat(house, "stop", username="bob")
    assert error["error"] == 'Only people with the role "mod" may stop the answer to others.'
    assert (await chat(house, "stop", username="bob", **MOD))["content"] == "Stopped."
    assert [kind for kind, _ in house.history()] == ["message", "cancelled", "stop"]


async def test_a_bot_whose_stop_is_refused_gets_no_text_either(house: House) -> None:
    house.config["access"] = {"answer_bots": True}
    await house.open()
    error = await chat(house, "stop all", is_bot=True)
    assert (error["code"], error["error"]) == ("not_allowed", "")
    assert "content" in await chat(house, "Hi")
    assert [each["type"] for each in await house.bot.outcomes(1)] == ["llm_response"]
