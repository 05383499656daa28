"""One speaker has a share of a channel's mailbox, and controls have places of their own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fakes.llm_server import Behaviour
from tests.support import patience
from tests.support.service_harness import House


@pytest.fixture
async def hold(house: House) -> asyncio.Event:
    """The first answer in #lobby, to carol, waits for this; at most 6 commands wait behind it."""
    house.config["channels"] = {"mailbox_limit": 6, "mailbox_limit_per_user": 2}
    await house.open()
    held = asyncio.Event()
    house.llm.plan(Behaviour(hold=held))
    await say(house, "carol", "first")
    await house.llm.wait_for_requests(1)
    return held


async def say(house: House, user: str, text: str, **more: Any) -> None:
    more.setdefault("request_id", text)
    await house.bot.chat(text, username=user, **more)


async def asked(house: House, user: str, line: str, **more: Any) -> Any:
    return await house.bot.ask(line, username=user, **more)


async def test_one_speaker_cannot_fill_a_room(house: House, hold: asyncio.Event) -> None:
    for text in ("m1", "m2"):
        await say(house, "mallory", text)
    busy = await asked(house, "MALLORY", "m3")
    assert (busy["code"], busy["ahead"]) == ("busy", 2)
    assert busy["error"] == (
        "You have 2 messages waiting in this channel, and one person may have 2."
        " Wait for an answer, or drop them with !chat stop."
    )
    await say(house, "bob", "b1")
    hold.set()
    outcomes = await house.bot.outcomes(5)
    assert [each["request_id"] for each in outcomes if each["type"] == "llm_response"] == [
        *("first", "m1", "m2", "b1")
    ]


async def test_an_id_has_a_share_whatever_the_name(house: House, hold: asyncio.Event) -> None:
    for number, name in enumerate(("mallory", "mallet")):
        await say(house, name, f"m{number}", user_id="7")
    assert (await asked(house, "another", "m3", user_id="7"))["code"] == "busy"
    await say(house, "mallory", "m4", user_id="8")
    hold.set()
    assert (await house.bot.outcomes(5))[-1]["request_id"] == "m4"


async def test_nobody_and_programs_have_no_share(house: House, hold: asyncio.Event) -> None:
    for number in range(3):
        await say(house, "", f"nameless {number}")
        message = {"channel_id": "#lobby", "username": "app", "request_id": f"by program {number}"}
        await house.bot.request(message="Hi", **message)
    assert "6 messages are waiting" in (await asked(house, "", "one more"))["error"]
    hold.set()
    outcomes = await house.bot.outcomes(8)
    assert [each["type"] for each in outcomes].count("llm_response") == 7


async def test_controls_have_places_of_their_own(house: House, hold: asyncio.Event) -> None:
    for user in ("ann", "bob", "dora"):
        for number in range(2):
            await say(house, user, f"{user} {number}")
    assert (await asked(house, "erin", "Hi"))["code"] == "busy"
    for number in range(4):
        await say(house, "erin", "help", request_id=f"erin {number}")
        await say(house, "operator", "reset", request_id=f"reset {number}")
    for user in ("erin", "frank"):  # one has half of the places, and all of them are taken
        assert (await asked(house, user, "persona"))["code"] == "busy"
    hold.set()
    outcomes = await house.bot.outcomes(7 + 8 + 3)
    answered = [each["request_id"] for each in outcomes if each["type"] == "llm_response"]
    assert answered[-2:] == ["erin 3", "reset 3"]
    assert len(answered) == 7 + 8


async def test_the_share_holds_after_a_restart(house: House, hold: asyncio.Event) -> None:
    for text in ("m1", "m2"):
        await say(house, "mallory", text)
        await house.bot.request(
            message="Hi", channel_id="#lobby", username="app", request_id=f"program {text}"
        )
    await patience.until(lambda: len(house.rows("SELECT id FROM mailbox")) == 5)
    house.config["service"] = {"drain_timeout_s": 0.1}
    hold_again = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold_again))
    await house.restart()
    await house.llm.wait_for_requests(2)
    assert "one person may have 2" in (await asked(house, "mallory", "m3"))["error"]
    await house.bot.request(
        message="Hi", channel_id="#lobby", username="app", request_id="program m3"
    )
    hold_again.set()
    hold.set()
    ids = [each["request_id"] for each in await house.bot.outcomes(7)]
    assert ids[1:] == ["first", "m1", "program m1", "m2", "program m2", "program m3"]


async def test_a_rule_says_the_share_of_its_channels(house: House) -> None:
    house.config["channels"] = {
        "mailbox_limit_per_user": 5,
        "rules": [{"match": "#lob*", "mailbox_limit_per_user": 1}],
    }
    await house.open()
    held = asyncio.Event()
    house.llm.plan(Behaviour(hold=held))
    await say(house, "mallory", "m1")
    assert (await asked(house, "mallory", "m2"))["error"] == (
        "You have 1 message waiting in this channel, and one person may have 1."
        " Wait for an answer, or drop it with !chat stop."
    )
    house.config["channels"]["rules"] = []
    await house.reload()
    await say(house, "mallory", "m3")
    held.set()
    assert (await house.bot.outcomes(3))[-1]["content"] == "You said: m3"


async def test_half_of_a_mailbox_is_the_most(house: House) -> None:
    house.config["channels"] = {"mailbox_limit": 4, "mailbox_limit_per_user": 100}
    await house.open()
    held = asyncio.Event()
    house.llm.plan(Behaviour(hold=held))
    for number in range(3):
        await say(house, "mallory", f"m{number}")
    assert "one person may have 2" in (await asked(house, "mallory", "m3"))["error"]
    held.set()
    await house.bot.outcomes(4)


async def test_a_reset_gets_through_when_the_engine_is_full(house: House) -> None:
    house.config["channels"] = {"commands_limit": 1}
    await house.open()
    held = asyncio.Event()
    house.llm.plan(Behaviour(hold=held))
    await say(house, "ann", "first")
    assert (await asked(house, "ann", "second", channel="#other"))["code"] == "busy"
    reset = await asked(house, "ann", "reset", channel="#other")
    assert reset["content"] == "Conversation reset: 0 messages cleared."
    held.set()
    await house.bot.outcomes(3)


async def test_nobody_waits_for_more_than_a_share_of_a_flooders_turns(house: House) -> None:
    house.config["channels"] = {"mailbox_limit_per_user": 3}
    await house.open()
    held = asyncio.Event()
    house.llm.plan(Behaviour(hold=held))
    for number in range(40):
        await say(house, "mallory", f"m{number}")
    assert (await asked(house, "mallory", "more"))["code"] == "busy"
    await say(house, "bob", "b")
    for number in range(40, 80):
        await say(house, "mallory", f"m{number}")
    assert (await asked(house, "mallory", "more"))["code"] == "busy"
    held.set()
    outcomes = await house.bot.outcomes(40 + 40 + 3)
    answered = [each["request_id"] for each in outcomes if each["type"] == "llm_response"]
    assert answered == ["m0", "m1", "m2", "b"]
