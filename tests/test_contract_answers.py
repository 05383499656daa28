"""The message contract, answers: options, completions, deltas, errors and order."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.llm_server import Behaviour
from tests.support.service_harness import House


@pytest.fixture
async def house(house: House) -> House:
    return await house.open()


async def test_a_request_may_choose_model_temperature_length_and_persona(house: House) -> None:
    answer = await house.bot.call(
        "llm.request",
        {
            "action": "chat",
            "channel_id": "#lobby",
            "message": "Hi",
            "username": "plugin",
            "model": "other-model",
            "temperature": 0.1,
            "max_tokens": 5,
            "persona": "technical",
        },
    )
    body = house.llm.requests[-1].body
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("other-model", 0.1, 5)
    assert (answer["persona"], answer["username"]) == ("technical", "plugin")
    assert (await house.bot.ask("Hi"))["persona"] == "default"
    body = house.llm.requests[-1].body
    assert (body["model"], body["temperature"]) == ("test-model", 0.7)
    assert "max_tokens" not in body


async def test_chat_requests_and_commands_share_one_conversation(house: House) -> None:
    await house.bot.ask("from the bot")
    message = {"action": "chat", "channel_id": "#lobby", "message": "p", "username": "alice"}
    await house.bot.call("llm.request", message)
    assert [m["content"] for m in house.llm.prompts[-1][1:]] == [
        "from the bot",
        "You said: from the bot",
        "p",
    ]


async def test_complete_neither_reads_nor_changes_a_conversation(house: House) -> None:
    await house.bot.ask("one")
    message = {"action": "complete", "channel_id": "#lobby", "message": "raw"}
    answer = await house.bot.call("llm.request", message)
    assert answer["action"] == "complete"
    assert house.llm.prompts[-1] == [{"role": "user", "content": "raw"}]
    await house.bot.ask("two")
    assert [m["content"] for m in house.llm.prompts[-1][1:]] == ["one", "You said: one", "two"]


async def test_a_completion_streams_if_asked_and_is_not_altered(house: House) -> None:
    message = {"action": "complete", "channel_id": "#lobby", "message": "raw", "stream": True}
    for text in ("    indented", "assistant: true", "Rosey: I am"):
        house.llm.plan(Behaviour(text=text))
        answer = await house.bot.call("llm.request", message)
        assert answer["content"] == text
        request_id = answer["request_id"]
        await house.bot.until(
            lambda text=text, request_id=request_id: (  # type: ignore[misc]
                text
                == "".join(
                    d["delta"] for d in house.bot.received_deltas() if d["request_id"] == request_id
                )
            )
        )
    assert house.llm.prompts[-1] == [{"role": "user", "content": "raw"}]


async def test_a_completion_takes_a_personas_settings_and_refuses_an_unknown_one(
    house: House,
) -> None:
    house.config["personas"] = {"hot": {"prompt": "Be hot.", "temperature": 1.9}}
    await house.restart()
    message = {"action": "complete", "channel_id": "#lobby", "message": "raw"}
    await house.bot.call("llm.request", message | {"persona": "hot"})
    assert house.llm.requests[-1].body["temperature"] == 1.9
    assert house.llm.prompts[-1] == [{"role": "user", "content": "raw"}]
    error = await house.bot.call("llm.request", message | {"persona": "cold"})
    assert error["code"] == "unknown_persona"
    assert ("prompt", "raw") in house.history()


async def test_several_speakers_are_told_apart_and_the_bots_name_is_cut_off(house: House) -> None:
    house.llm.plan(*[Behaviour(text="Rosey: Hello")] * 2)
    assert (await house.bot.ask("Hi"))["content"] == "Rosey: Hello"
    assert (await house.bot.ask("Hi too", username="bob"))["content"] == "Hello"
    assert [m["content"] for m in house.llm.prompts[-1][1:]] == [
        "alice: Hi",
        "Rosey: Hello",
        "bob: Hi too",
    ]


async def test_complete_does_not_wait_for_messages_of_its_channel(house: House) -> None:
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    await house.bot.chat("slow", request_id="slow")
    await house.llm.wait_for_requests(1)
    message = {"action": "complete", "channel_id": "#lobby", "message": "raw"}
    assert (await house.bot.call("llm.request", message))["content"] == "You said: raw"
    hold.set()
    assert (await house.bot.outcomes(2))[1]["request_id"] == "slow"


async def test_reset_by_request_is_like_reset_by_command(house: House) -> None:
    await house.bot.ask("one")
    answer = await house.bot.call("llm.request", {"action": "reset", "channel_id": "#lobby"})
    assert (answer["action"], "2 messages" in answer["content"]) == ("reset", True)


async def test_the_deltas_add_up_to_the_answer_and_their_indexes_have_no_gap(
    house: House,
) -> None:
    # Long enough that several pieces share a delta, also on a slow machine.
    house.config["conversation"] = {"stream_interval_ms": 200}
    await house.restart()
    house.llm.plan(Behaviour(pieces=[f"word{i} " for i in range(40)], gap_s=0.01))
    await house.bot.chat("go", request_id="r")
    (answer,) = await house.bot.outcomes(1)
    await house.bot.until(
        lambda: "".join(d["delta"] for d in house.bot.received_deltas()) == answer["content"]
    )
    deltas = house.bot.received_deltas()
    assert [each["index"] for each in deltas] == list(range(len(deltas)))
    assert {
        (each["channel_id"], each["request_id"], each["username"], each["action"])
        for each in deltas
    } == {("#lobby", "r", "alice", "chat")}
    assert len(deltas) < 40


async def test_a_request_streams_only_when_it_asks(house: House) -> None:
    message = {"action": "chat", "channel_id": "#lobby", "message": "Hi"}
    await house.bot.call("llm.request", message)
    assert house.llm.requests[-1].body.get("stream") is not True
    await house.bot.call("llm.request", message | {"stream": True})
    assert house.llm.requests[-1].body["stream"] is True
    assert "".join(d["delta"] for d in await house.bot.deltas(1)) == "You said: Hi"


async def test_an_answer_that_fails_half_way_ends_in_one_error(house: House) -> None:
    house.llm.plan(Behaviour(pieces=["Once ", "upon ", "a time"], cut_after=2))
    error = await house.bot.ask("tell me", request_id="r")
    assert (error["type"], error["code"], error["request_id"]) == (
        "llm_error",
        "provider_error",
        "r",
    )
    assert await house.bot.outcomes(1) == [error]


async def test_an_answer_over_the_limit_is_cut_between_two_characters(house: House) -> None:
    house.config["conversation"] = {"max_reply_bytes": 11}
    await house.restart()
    for stream in (True, False):
        house.llm.plan(Behaviour(text="äöüäöüäöü and much more"))
        answer = await house.bot.call(
            "llm.request",
            {"action": "chat", "channel_id": f"{stream}", "message": "Hi", "stream": stream},
        )
        assert (answer["content"], answer["finish_reason"]) == ("äöüäö", "length")
        assert answer["provider"] == "openai"
    await house.bot.ask("and?", channel="True")
    assert house.llm.prompts[-1][2]["content"] == "äöüäö"


@pytest.mark.parametrize(
    ("behaviour", "code", "error"),
    [
        (Behaviour(status=401), "provider_auth", "OpenAI API error: 401 Unauthorized"),
        (Behaviour(status=403), "provider_auth", "OpenAI API error: 403 Forbidden"),
        (Behaviour(status=500), "provider_unavailable", "OpenAI API error: 500"),
        (Behaviour(status=429, headers={"Retry-After": "7"}), "rate_limited", "429"),
        (Behaviour(text=""), "provider_error", "empty answer"),
        (Behaviour(body=b"{]"), "provider_error", "OpenAI"),
        (
            Behaviour(status=404, body={"error": {"code": "model_not_found", "message": "none"}}),
            "model_not_found",
            "404",
        ),
        (
            Behaviour(
                status=400, body={"error": {"code": "context_length_exceeded", "message": "long"}}
            ),
            "context_too_long",
            "400",
        ),
    ],
)
async def test_every_failure_of_the_provider_has_its_code_and_a_sentence(
    house: House, behaviour: Behaviour, code: str, error: str
) -> None:
    house.llm.plan(behaviour)
    failure = await house.bot.ask("Hi")
    assert (failure["type"], failure["code"]) == ("llm_error", code)
    assert error in failure["error"]
    assert "sk-house-key" not in failure["error"]
    if code == "rate_limited":
        assert failure["retry_after_s"] == 7
    assert (await house.bot.ask("Hi again"))["content"] == "You said: Hi again"
    assert [m["content"] for m in house.llm.prompts[-1][1:]] == ["Hi again"]


async def test_a_full_mailbox_answers_busy_and_says_how_many_are_ahead(house: House) -> None:
    house.config["channels"] = {"mailbox_limit": 2}
    await house.restart()
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    for number in range(3):
        await house.bot.chat(f"m{number}", request_id=f"r{number}", username=f"user {number}")
    await house.llm.wait_for_requests(1)
    busy = await house.bot.ask("one too many", request_id="late")
    assert (busy["code"], busy["ahead"], busy["request_id"]) == ("busy", 2, "late")
    assert busy["retry_after_s"] > 0
    assert (await house.bot.ask("Hi", channel="#other"))["type"] == "llm_response"
    hold.set()
    outcomes = await house.bot.outcomes(5)
    assert [o["request_id"] for o in outcomes if o["request_id"][0] == "r"] == ["r0", "r1", "r2"]


async def test_both_inputs_share_the_order_of_a_channel(house: House) -> None:
    house.config["channels"] = {"mailbox_limit": 300, "mailbox_limit_per_user": 150}
    await house.restart()
    for number in range(100):
        if number % 2:
            await house.bot.request(message=f"m{number}", request_id=str(number))
        else:
            await house.bot.chat(f"m{number}", request_id=str(number))
    outcomes = await house.bot.outcomes(100)
    assert [int(each["request_id"]) for each in outcomes] == list(range(100))
    assert [p[-1]["content"].split(": ")[-1] for p in house.llm.prompts] == [
        f"m{number}" for number in range(100)
    ]


async def test_a_reset_applies_after_the_messages_before_it(house: House) -> None:
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    await house.bot.chat("before", request_id="1")
    await house.bot.chat("reset", request_id="2")
    await house.bot.chat("after", request_id="3")
    await house.llm.wait_for_requests(1)
    hold.set()
    outcomes = await house.bot.outcomes(3)
    assert [each["request_id"] for each in outcomes] == ["1", "2", "3"]
    assert "2 messages" in outcomes[1]["content"]
    assert [m["content"] for m in house.llm.prompts[-1][1:]] == ["after"]


async def test_subjects_can_be_renamed(house: House) -> None:
    house.config["nats"]["subjects"] = {"chat": "bot.chat", "response": "bot.said"}
    await house.restart()
    answer = await house.bot.call("bot.chat", {"args": "Hi", "channel_id": "#lobby"})
    assert answer["content"] == "You said: Hi"
