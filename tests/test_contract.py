"""The message contract over a real nats-server, database and HTTP server: messages and replies."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.fakes.llm_server import Behaviour
from tests.support.patience import WAIT_S
from tests.support.service_harness import House


@pytest.fixture
async def house(house: House) -> House:
    return await house.open()


async def test_a_command_gets_an_answer_with_everything_the_contract_names(house: House) -> None:
    await house.bot.send(
        "rosey.command.chat",
        {
            "command": "chat",
            "args": ["Hello", "world"],
            "channel_id": "#lobby",
            "username": "alice",
            "request_id": "r1",
        },
    )
    (answer,) = await house.bot.outcomes(1)
    latency_ms = answer.pop("latency_ms")
    assert isinstance(latency_ms, int)
    assert answer == {
        "type": "llm_response",
        "channel_id": "#lobby",
        "content": "You said: Hello world",
        "request_id": "r1",
        "username": "alice",
        "action": "chat",
        "persona": "default",
        "provider": "openai",
        "model": "test-model",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }


@pytest.mark.parametrize(
    "message",
    [
        {"args": ["Hi"], "channel": "#lobby", "user": "alice"},
        {"args": "Hi", "channel_id": "#lobby", "username": "alice", "colour": "red"},
        {"command": "chat", "args": ["Hi", ""], "channel_id": "#lobby", "username": "alice"},
    ],
)
async def test_aliases_and_unknown_fields_are_accepted(
    house: House, message: dict[str, Any]
) -> None:
    answer = await house.bot.call("rosey.command.chat", message)
    assert (answer["content"], answer["username"]) == ("You said: Hi", "alice")


async def test_a_missing_username_is_user(house: House) -> None:
    answer = await house.bot.call("rosey.command.chat", {"args": "Hi", "channel_id": "#lobby"})
    assert answer["username"] == "User"


async def test_the_reply_subject_gets_the_same_bytes_as_the_response(house: House) -> None:
    reply = await house.bot.client.request(
        "rosey.command.chat", b'{"args": "Hi", "channel_id": "#lobby"}', timeout=WAIT_S
    )
    await house.bot.outcomes(1)
    assert reply.data in house.bot.raw


async def test_the_reply_subject_gets_errors_too(house: House) -> None:
    error = await house.bot.call("llm.request", {"action": "dance", "channel_id": "#lobby"})
    assert error["code"] == "invalid_request"
    assert await house.bot.outcomes(1) == [error]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (b'["What", "is", 2, "+", 2.5]', "What is 2 + 2.5"),
        (b"[-0.50, 1e3]", "-0.50 1e3"),
        (b"[12345678901234567890123]", "12345678901234567890123"),
    ],
)
async def test_numbers_among_the_words_are_words_as_they_were_written(
    house: House, args: bytes, line: str
) -> None:
    answer = await house.bot.call(
        "rosey.command.chat", b'{"channel_id": "c", "args": ' + args + b"}"
    )
    assert answer["content"] == f"You said: {line}"


@pytest.mark.parametrize("number", [0, 12, -1001234567890, 12345678901234567890123])
@pytest.mark.parametrize("keys", [("channel_id", "username"), ("channel", "user")])
async def test_a_whole_number_as_a_name_is_its_digits(
    house: House, number: int, keys: tuple[str, str]
) -> None:
    names = json.dumps(dict.fromkeys((*keys, "request_id"), number))[:-1].encode()
    for subject, rest in (
        ("rosey.command.chat", b', "args": "Hi"}'),
        ("llm.request", b', "action": "reset"}'),
    ):
        answer = await house.bot.call(subject, names + rest)
        assert answer["content"] == "You said: Hi"  # the second one is a repeat
        for key in ("channel_id", "username", "request_id"):
            assert answer[key] == str(number)


@pytest.mark.parametrize(
    ("subject", "body", "channel", "problem"),
    [
        ("rosey.command.chat", b"not json", "", "not JSON"),
        ("rosey.command.chat", b"[1]", "", "JSON object"),
        ("rosey.command.chat", b'{"args": "Hi"}', "", "channel_id: missing"),
        (
            "rosey.command.chat",
            b'{"args": "Hi", "channel_id": 7.5}',
            "",
            "channel_id: expected a string, got 7.5",
        ),
        (
            "rosey.command.chat",
            b'{"args": "Hi", "channel_id": 1e20}',
            "",
            "channel_id: expected a string, got 1e+20",
        ),
        ("rosey.command.chat", b'{"args": "Hi", "channel_id": true}', "", "got true"),
        ("rosey.command.chat", b'{"args": "Hi", "channel_id": " "}', " ", "channel_id: expected"),
        ("rosey.command.chat", b'{"args": 3, "channel_id": "c"}', "c", "args: expected"),
        (
            "rosey.command.chat",
            b'{"args": ["Is", 1, true], "channel_id": "c"}',
            "c",
            "args[2]: expected a word or a number, got true",
        ),
        (
            "rosey.command.chat",
            b'{"args": [null], "channel_id": "c"}',
            "c",
            "args[0]: expected a word or a number, got null",
        ),
        (
            "llm.request",
            b'{"action": "chat", "channel_id": "c", "message": 3}',
            "c",
            "message: expected a string, got 3",
        ),
        ("rosey.command.chat", b'{"args": "a\\u0000b", "channel_id": "c"}', "c", "not text"),
        (
            "rosey.command.chat",
            b'{"args":"Hi","channel_id":"c","username":1.0}',
            "c",
            "username: expected a string, got 1.0",
        ),
        (
            "rosey.command.chat",
            b'{"args":"Hi","channel_id":"c","request_id":false}',
            "c",
            "request_id: expected a string, got false",
        ),
        ("rosey.command.chat", b'{"args":"\xff","channel_id":"c"}', "", "UTF-8"),
        ("llm.request", b'{"channel_id": "c", "message": "Hi"}', "c", "action: missing"),
        ("llm.request", b'{"channel_id": "c", "action": "dance"}', "c", 'action: expected "chat"'),
        ("llm.request", b'{"channel_id": "c", "action": "chat"}', "c", "message: missing"),
        ("llm.request", b'{"channel_id":"c","action":"chat","message":" "}', "c", "is empty"),
        (
            "llm.request",
            b'{"channel_id":"c","action":"chat","message":"Hi","temperature":3}',
            "c",
            "temperature: expected 0 to 2, got 3",
        ),
        (
            "llm.request",
            b'{"channel_id":"c","action":"chat","message":"Hi","max_tokens":0}',
            "c",
            "max_tokens: expected 1 or more, got 0",
        ),
        (
            "llm.request",
            b'{"channel_id":"c","action":"chat","message":"Hi","stream":"yes"}',
            "c",
            "stream: expected true or false",
        ),
        (
            "llm.request",
            b'{"channel_id":"c","action":"chat","message":"Hi","model":5}',
            "c",
            "model: expected a string, got 5",
        ),
    ],
)
async def test_bad_input_is_refused_with_what_is_wrong(
    house: House, subject: str, body: bytes, channel: str, problem: str
) -> None:
    error = await house.bot.call(subject, body)
    assert (error["type"], error["code"]) == ("llm_error", "invalid_request")
    assert error["channel_id"] == channel
    assert problem in error["error"]
    assert house.rows("SELECT * FROM history") == []


async def test_a_message_that_is_nested_deeply_gets_an_outcome(house: House) -> None:
    """How deep is too deep is Python's affair: it differs from version to version."""
    body = b'{"args": [2.5], "channel_id": "c", "x": ' + b"[" * 1000 + b"]" * 1000 + b"}"
    outcome = await house.bot.call("rosey.command.chat", body)
    refused = outcome.get("error", "").startswith("The message is nested too deeply.")
    assert refused or outcome["content"]


async def test_a_message_over_the_limit_is_refused_and_one_at_the_limit_is_not(
    house: House,
) -> None:
    assert (await house.bot.ask("x" * 65536))["type"] == "llm_response"
    error = await house.bot.ask("x" * 65537)
    assert error["code"] == "invalid_request"
    assert "65537 bytes; the limit is 65536" in error["error"]


async def test_a_request_id_of_128_characters_is_taken_and_a_longer_one_refused(
    house: House,
) -> None:
    assert (await house.bot.ask("Hi", request_id="r" * 128))["request_id"] == "r" * 128
    assert (await house.bot.ask("Hi", request_id="r" * 129))["code"] == "invalid_request"


async def test_the_request_id_may_come_in_the_header(house: House) -> None:
    for header in ("Nats-Msg-Id", "nats-msg-id"):
        answer = await house.bot.call(
            "rosey.command.chat",
            {"args": "Hi", "channel_id": header},
            headers={header: "from-the-header"},
        )
        assert answer["request_id"] == "from-the-header"


async def test_a_request_sent_again_gets_the_stored_outcome_and_no_model_is_asked(
    house: House,
) -> None:
    first = await house.bot.ask("Hi", request_id="same")
    again = await house.bot.ask("something else", request_id="same")
    elsewhere = await house.bot.ask("Hi", channel="#other", request_id="same")
    assert again == first
    assert elsewhere["channel_id"] == "#other"
    assert len(house.llm.prompts) == 2


async def test_a_request_sent_again_while_it_waits_is_answered_once_to_both(house: House) -> None:
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    asks = [asyncio.create_task(house.bot.ask("Hi", request_id="same")) for _ in range(3)]
    await house.llm.wait_for_requests(1)
    await house.bot.ask("persona", channel="#other")
    hold.set()
    first, second, third = await asyncio.gather(*asks)
    assert first == second == third
    assert len(house.llm.prompts) == 1


async def test_a_request_sent_again_while_it_waits_in_a_full_mailbox_is_not_refused(
    house: House,
) -> None:
    house.config["channels"] = {"mailbox_limit": 1}
    await house.restart()
    await house.bot.ask(
        "help", channel="#other"
    )  # nats-py's first request must not run beside others
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    await house.bot.chat("running", request_id="r0")
    await house.llm.wait_for_requests(1)
    await house.bot.chat("waiting", request_id="r1")
    asks = [asyncio.create_task(house.bot.ask("waiting", request_id="r1")) for _ in range(3)]
    asks.append(asyncio.create_task(house.bot.ask("running", request_id="r0")))
    assert (await house.bot.ask("too many", request_id="r2"))["code"] == "busy"
    hold.set()
    answers = await asyncio.gather(*asks)
    assert [a["content"] for a in answers] == ["You said: waiting"] * 3 + ["You said: running"]
    outcomes = await house.bot.outcomes(4)
    assert [each["request_id"] for each in outcomes[1:]] == ["r2", "r0", "r1"]
    assert len(house.llm.prompts) == 2
