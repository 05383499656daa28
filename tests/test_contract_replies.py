"""The message contract, where an outcome goes: `reply_to`, correlation ids and envelopes."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from nats.aio.subscription import Subscription

from tests.fakes.llm_server import Behaviour
from tests.support.patience import WAIT_S
from tests.support.service_harness import House

CHAT = "rosey.command.chat"


@pytest.fixture
async def house(house: House) -> House:
    return await house.open()


def hello(**more: Any) -> dict[str, Any]:
    return {"args": "Hi", "channel_id": "#lobby", "username": "alice"} | more


async def heard(subscription: Subscription) -> dict[str, Any]:
    message: dict[str, Any] = orjson.loads((await subscription.next_msg(WAIT_S)).data)
    return message


async def test_an_outcome_goes_to_the_reply_subject_that_a_payload_names(house: House) -> None:
    named = await house.bot.client.subscribe("_INBOX.mine.7")
    answer = await house.bot.call(CHAT, hello(reply_to="_INBOX.mine.7"))
    assert await heard(named) == answer
    refused = {"action": "dance", "channel_id": "#lobby", "reply_to": "_INBOX.mine.7"}
    error = await house.bot.call("llm.request", refused)
    assert await heard(named) == error


@pytest.mark.parametrize(
    "reply_to",
    [
        "bots.a.other",
        "bots.replies",
        "llm.response",
        CHAT,
        "_INBOX.*",
        "_INBOX.a b",
        "",
        7,
        "_INBOX..a",
    ],
)
async def test_no_outcome_goes_to_a_subject_that_is_not_permitted(
    house: House, reply_to: object
) -> None:
    house.config["nats"]["reply_to_allow"] = ["bots.*.replies"]
    await house.restart()
    error = await house.bot.call(CHAT, hello(reply_to=reply_to))
    assert (error["code"], error["error"].split(":")[0]) == ("invalid_request", "reply_to")
    assert house.llm.prompts == []


@pytest.mark.parametrize("pattern", ["bots.*.replies", "bots.>", "bots.a.replies"])
async def test_a_listed_subject_may_be_named(house: House, pattern: str) -> None:
    house.config["nats"]["reply_to_allow"] = [pattern]
    await house.restart()
    await house.bot.send(CHAT, hello(reply_to="bots.a.replies"))
    (answer,) = await house.bot.outcomes(1)
    assert answer["content"] == "You said: Hi"


async def test_each_sender_gets_its_own_correlation_id_and_the_shared_subjects_the_first_one(
    house: House,
) -> None:
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    replies = [await house.bot.client.subscribe(f"_INBOX.sender.{n}") for n in range(3)]
    for number, correlation_id in enumerate(["first", "second", None]):
        body = orjson.dumps(hello(request_id="r", correlation_id=correlation_id))
        await house.bot.send(CHAT, body, reply=f"_INBOX.sender.{number}")
        if number == 0:
            await house.llm.wait_for_requests(1)
    await house.bot.ask("help", "#other")  # the copies have joined
    hold.set()
    answers = [await heard(each) for each in replies]
    assert [each.get("correlation_id") for each in answers] == ["first", "second", None]
    await house.bot.until(
        lambda: (
            [e.get("correlation_id") for e in house.bot.received if e["request_id"] == "r"][-1:]
            == ["first"]
        )
    )
    assert {each["correlation_id"] for each in house.bot.received_deltas()} == {"first"}
    again = await house.bot.call(CHAT, hello(request_id="r", correlation_id="later"))
    assert again == answers[0] | {"correlation_id": "later"}
    assert house.bot.received_outcomes()[-1]["correlation_id"] == "first"


async def test_a_sender_without_a_reply_subject_finds_its_correlation_id_on_the_shared_ones(
    house: House,
) -> None:
    await house.bot.send(CHAT, hello(correlation_id=7))
    await house.bot.send(CHAT, hello(args=3, correlation_id="wrong"))
    answer, error = sorted(
        await house.bot.outcomes(2), key=lambda each: each["type"] == "llm_error"
    )
    assert (answer["correlation_id"], error["correlation_id"]) == ("7", "wrong")
    error = await house.bot.call(CHAT, hello(correlation_id="c" * 129))
    assert error["error"] == "correlation_id: expected at most 128 characters, got 129."


async def test_a_correlation_id_outlives_a_crash(house: House) -> None:
    house.llm.plan(Behaviour(hang_after=1))
    house.config["service"] = {"drain_timeout_s": 0.2}
    await house.restart()
    await house.bot.send(CHAT, hello(request_id="r", correlation_id="kept"))
    await house.llm.wait_for_requests(1)
    await house.restart()
    answer = await house.bot.ask("anything", request_id="r")
    assert answer["content"] == "You said: Hi"
    (shared, *_) = await house.bot.outcomes(1)
    assert shared["correlation_id"] == "kept"


@pytest.mark.parametrize(
    ("envelope", "request_id", "correlation_id"),
    [
        ({"data": hello(request_id="in")}, "in", None),
        ({"data": hello(), "request_id": 12, "correlation_id": "c"}, "12", "c"),
        ({"data": hello(request_id=5, correlation_id=None), "correlation_id": "c"}, "5", "c"),
        ({"data": hello(correlation_id="in", request_id="r"), "correlation_id": "c"}, "r", "in"),
    ],
)
async def test_an_envelope_is_taken_as_what_it_holds(
    house: House, envelope: dict[str, Any], request_id: str, correlation_id: str | None
) -> None:
    answer = await house.bot.call(CHAT, {"event": "command"} | envelope)
    assert (answer["content"], answer["request_id"]) == ("You said: Hi", request_id)
    assert answer.get("correlation_id") == correlation_id


@pytest.mark.parametrize("data", [3, "text", None, [hello()], {"args": "other"}])
async def test_data_beside_a_message_is_an_unknown_key(house: House, data: object) -> None:
    assert (await house.bot.call(CHAT, hello(data=data)))["content"] == "You said: Hi"
