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
    error = await house.bot.ask("reset", username="bob")
    assert (error["code"], for_whom(error)) == ("busy", ("bob", "reset"))
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
