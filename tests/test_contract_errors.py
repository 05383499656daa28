"""The message contract, errors: whom one is for, and what had been written."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes.llm_server import Behaviour
from tests.support.service_harness import House


@pytest.fixture
async def house(house: House) -> House:
    return await house.open()


def for_whom(error: dict[str, Any]) -> tuple[str | None, str | None]:
    return error.get("username"), error.get("action")


@pytest.mark.parametrize("action", ["chat", "complete"])
async def test_the_error_of_a_provider_says_whom_it_is_for(house: House, action: str) -> None:
    house.llm.plan(Behaviour(status=401))
    message = {"action": action, "channel_id": "#lobby", "message": "Hi", "username": "bob"}
    error = await house.bot.call("llm.request", message)
    assert (error["code"], for_whom(error)) == ("provider_auth", ("bob", action))


async def test_the_error_of_a_command_says_whom_it_is_for(house: House) -> None:
    error = await house.bot.ask("persona nobody")
    assert (error["code"], for_whom(error)) == ("unknown_persona", ("alice", "persona"))


async def test_busy_says_whom_it_is_for(house: House) -> None:
    house.config["channels"] = {"mailbox_limit": 1}
    await house.restart()
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    await house.bot.chat("running")
    await house.llm.wait_for_requests(1)
    await house.bot.chat("waiting")
    error = await house.bot.ask("Hi", username="bob")
    assert (error["code"], for_whom(error)) == ("busy", ("bob", "chat"))
    hold.set()


@pytest.mark.parametrize(
    ("subject", "message", "expected"),
    [
        ("llm.request", {"action": "chat", "user": "bob"}, ("bob", "chat")),
        ("llm.request", {"action": "dance", "username": "bob"}, ("bob", None)),
        ("llm.request", {"action": "complete", "username": 1.5}, (None, "complete")),
        ("llm.request", {"action": ["chat"], "username": "b" * 70000}, ("b" * 1024, None)),
        ("rosey.command.chat", {"action": "chat", "args": 3, "user": "bob"}, ("bob", None)),
    ],
)
async def test_a_refusal_says_whom_it_is_for_as_far_as_that_can_be_read(
    house: House, subject: str, message: dict[str, Any], expected: tuple[str | None, str | None]
) -> None:
    error = await house.bot.call(subject, {"channel_id": "#lobby"} | message)
    assert (error["code"], for_whom(error)) == ("invalid_request", expected)


async def test_a_stopped_answer_says_whose_it_was_and_what_was_written(house: House) -> None:
    house.llm.plan(Behaviour(pieces=["Once ", "upon"], hang_after=1))
    await house.bot.chat("tell me everything", request_id="r", username="bob\u200b")
    await house.bot.deltas(1)
    assert (await house.bot.ask("stop"))["content"] == "Stopped."
    (error, _) = await house.bot.outcomes(2)
    assert error["error"] == "The answer to bob was stopped."
    assert (error["code"], error["partial"]) == ("cancelled", "Once ")
    assert ("cancelled", "Once ") in house.history()
    assert await house.bot.ask("anything", request_id="r") == error


async def test_an_answer_that_was_stopped_before_it_began_has_written_nothing(
    house: House,
) -> None:
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    await house.bot.chat("Hi")
    await house.llm.wait_for_requests(1)
    await house.bot.ask("stop")
    (error, _) = await house.bot.outcomes(2)
    assert (error["code"], error["partial"]) == ("cancelled", "")
    hold.set()


async def test_an_error_that_is_no_stop_has_no_partial_answer(house: House) -> None:
    house.llm.plan(Behaviour(status=401))
    assert "partial" not in await house.bot.ask("Hi")
