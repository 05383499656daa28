"""A stop drops what its sender has waiting, `stop all` everything, in the commit of the stop."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.llm_server import Behaviour
from tests.support.service_harness import House


@pytest.fixture
async def waiting(house: House) -> House:
    """A house in which carol is being answered, and two of ann and one of bob wait."""
    house.config["permissions"] = {"admins": ["olga"]}
    await house.open()
    house.llm.plan(Behaviour(hang_after=1))
    for user, text in (("carol", "long"), ("ann", "a1"), ("bob", "b1"), ("ann", "a2")):
        await house.bot.chat(text, username=user, request_id=text)
    await house.bot.deltas(1)
    return house


async def test_a_stop_drops_what_its_sender_has_waiting(waiting: House) -> None:
    stopped = await waiting.bot.ask("stop", username="Ann", request_id="s")
    assert stopped["content"] == "Stopped, and 2 waiting messages dropped."
    outcomes = await waiting.bot.outcomes(5)
    assert [each["request_id"] for each in outcomes] == ["long", "a1", "a2", "s", "b1"]
    assert outcomes[1] | {"error": ""} == {
        "type": "llm_error",
        "code": "cancelled",
        "channel_id": "#lobby",
        "request_id": "a1",
        "username": "ann",
        "action": "chat",
        "error": "",
    }
    assert outcomes[1]["error"] == "The waiting message of ann was dropped."
    assert outcomes[4]["content"] == "You said: b1"
    kinds = ["message", "cancelled"]
    assert [kind for kind, _ in waiting.history()] == [*kinds * 3, "stop", "message", "answer"]
    rows = waiting.rows("SELECT ts_ms FROM history WHERE kind IN ('cancelled', 'stop')")
    assert len({row["ts_ms"] for row in rows}) == 1  # of the one commit
    assert waiting.rows("SELECT * FROM mailbox") == []


async def test_a_single_message_is_counted_as_one(waiting: House) -> None:
    stopped = await waiting.bot.ask("stop", username="bob")
    assert stopped["content"] == "Stopped, and 1 waiting message dropped."
    ids = [each["request_id"] for each in await waiting.bot.outcomes(5)]
    assert ids[:2] + ids[3:] == ["long", "b1", "a1", "a2"]


async def test_stop_all_drops_everything_if_an_admin_says_it(waiting: House) -> None:
    refused = await waiting.bot.ask("stop all", username="ann")
    assert refused["code"] == "not_allowed"
    assert waiting.rows("SELECT count(*) AS n FROM mailbox")[0]["n"] == 4
    stopped = await waiting.bot.ask("stop all", username="olga", request_id="s")
    assert stopped["content"] == "Stopped, and 3 waiting messages dropped."
    outcomes = await waiting.bot.outcomes(6)
    assert [each["request_id"] for each in outcomes[1:]] == ["long", "a1", "b1", "a2", "s"]
    assert waiting.rows("SELECT * FROM mailbox") == []


async def test_a_stop_sent_again_drops_nothing_more(waiting: House) -> None:
    first = await waiting.bot.ask("stop", username="ann", request_id="s")
    hold = asyncio.Event()
    waiting.llm.plan(Behaviour(hold=hold))
    for text in ("new 1", "new 2"):
        await waiting.bot.chat(text, username="ann", request_id=text)
    assert await waiting.bot.ask("stop", username="ann", request_id="s") == first
    hold.set()
    answered = [each for each in await waiting.bot.outcomes(8) if "content" in each]
    assert [each["request_id"] for each in answered][-2:] == ["new 1", "new 2"]


async def test_who_may_not_stop_others_drops_only_what_is_its_own(waiting: House) -> None:
    waiting.config["permissions"]["stop_others"] = "admin"
    await waiting.reload()
    dropped = await waiting.bot.ask("stop", username="ann", request_id="s")
    assert dropped["content"] == "Stop: 2 waiting messages dropped."
    assert (await waiting.bot.ask("stop", username="ann"))["code"] == "not_allowed"
    outcomes = await waiting.bot.outcomes(4)
    assert [each["request_id"] for each in outcomes[:3]] == ["a1", "a2", "s"]
    kinds = [kind for kind, _ in waiting.history()]
    assert kinds == ["message", "cancelled", "message", "cancelled", "stop"]
    await waiting.bot.ask("stop", username="olga")


async def test_what_was_dropped_stays_dropped_after_a_restart(waiting: House) -> None:
    await waiting.bot.ask("stop", username="ann", request_id="s")
    await waiting.bot.outcomes(5)
    await waiting.restart()
    again = await waiting.bot.ask("a1", username="ann", request_id="a1")
    assert again["code"] == "cancelled"
    assert len(waiting.llm.prompts) == 2


async def test_a_dropped_message_is_not_in_the_next_prompt(waiting: House) -> None:
    await waiting.bot.ask("stop", username="ann")
    await waiting.bot.ask("again", username="bob")
    assert [m["content"] for m in waiting.llm.prompts[-1][1:]] == ["b1", "You said: b1", "again"]
