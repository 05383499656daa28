"""The message contract, rule by rule, over a real nats-server, database and HTTP server."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from engine.commands import words
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
            "rosey.command.chat",
            b'{"args": [2.5], "channel_id": "c", "x": ' + b"[" * 1000 + b"]" * 1000 + b"}",
            "",
            "nested too deeply",
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


async def test_reset_clears_the_conversation_and_says_how_many_messages(house: House) -> None:
    await house.bot.ask("one")
    await house.bot.ask("two")
    answer = await house.bot.ask("reset")
    assert answer["action"] == "reset"
    assert "4 messages" in answer["content"]
    await house.bot.ask("three")
    assert [m["content"] for m in house.llm.prompts[-1][1:]] == ["three"]


async def test_persona_lists_them_and_says_which_is_used(house: House) -> None:
    answer = await house.bot.ask("PERSONA")
    assert answer["action"] == "persona"
    for name in ("default", "concise", "technical", "creative"):
        assert name in answer["content"]


async def test_a_persona_switch_applies_to_its_channel_and_survives_a_restart(house: House) -> None:
    answer = await house.bot.ask("persona Concise")
    assert (answer["action"], answer["persona"]) == ("persona", "concise")
    assert (await house.bot.ask("Hi"))["persona"] == "concise"
    assert (await house.bot.ask("Hi", channel="#other"))["persona"] == "default"
    await house.restart()
    assert (await house.bot.ask("Hi"))["persona"] == "concise"
    assert house.llm.prompts[-1][0] == house.llm.prompts[0][0]


async def test_an_unknown_persona_is_an_error_that_names_the_known_ones(house: House) -> None:
    error = await house.bot.ask("persona pirate")
    assert error["code"] == "unknown_persona"
    assert "default, concise, technical, creative" in error["error"]


async def test_help_and_an_empty_line_list_the_commands(house: House) -> None:
    for line in ("help", "HELP", "", "  "):
        answer = await house.bot.ask(line)
        assert answer["action"] == "help"
        assert "!chat reset" in answer["content"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("reset", "Conversation reset: 0 messages cleared."),
        (
            "persona",
            "Persona: default. Others: concise, technical, creative."
            " Switch with: !chat persona NAME",
        ),
        ("persona Technical", "Persona: technical from now on."),
        (
            "persona pirate",
            'Persona "pirate" is unknown. There are: default, concise, technical, creative.',
        ),
        ("stop", "Stop: no answer is being written."),
        ("help", words.HELP),
    ],
)
async def test_the_answer_of_a_command_begins_with_its_word_in_one_line_without_markdown(
    house: House, line: str, said: str
) -> None:
    answer = await house.bot.ask(line)
    content = answer.get("content") or answer["error"]
    assert content == said
    assert line.split()[0] in " ".join(content.lower().split()[:2])
    assert not re.search(r"^!|[\n*_`<>|#~]", content)
    assert len(content.encode()) < 400  # what a line of IRC has room for


async def test_each_command_has_a_part_of_the_help() -> None:
    for command in ("TEXT", "reset", "persona", "persona NAME", "stop", "help"):
        assert f"!chat {command} " in words.HELP


@pytest.mark.parametrize(
    "line",
    [
        "reset my router, how?",
        "help me with Python",
        "stop words in NLP?",
        "persona non grata means what?",
    ],
)
async def test_a_question_that_begins_like_a_command_is_a_question(house: House, line: str) -> None:
    assert (await house.bot.ask(line))["content"] == f"You said: {line}"


async def test_stop_cuts_off_the_answer_and_waiting_messages_continue(house: House) -> None:
    house.llm.plan(Behaviour(hang_after=1))
    await house.bot.chat("tell me everything", request_id="long")
    await house.bot.chat("next", request_id="next")
    await house.bot.deltas(1)
    stopped = await house.bot.ask("stop")
    assert (stopped["action"], stopped["content"]) == ("stop", "Stopped.")
    outcomes = {each["request_id"]: each for each in await house.bot.outcomes(3)}
    assert outcomes["long"]["code"] == "cancelled"
    assert outcomes["next"]["content"] == "You said: next"
    assert [m["content"] for m in house.llm.prompts[-1][1:]] == ["next"]


async def test_stop_with_nothing_to_stop_says_so(house: House) -> None:
    answer = await house.bot.ask("stop")
    assert (answer["action"], answer["content"]) == ("stop", "Stop: no answer is being written.")


async def test_stop_sent_again_does_not_stop_the_next_answer(house: House) -> None:
    first = await house.bot.ask("stop", request_id="s")
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    await house.bot.chat("Hi", request_id="r")
    await house.llm.wait_for_requests(1)
    assert await house.bot.ask("stop", request_id="s") == first
    hold.set()
    outcomes = await house.bot.outcomes(3)
    assert outcomes[-1]["content"] == "You said: Hi"


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
    assert {(each["channel_id"], each["request_id"]) for each in deltas} == {("#lobby", "r")}
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
        await house.bot.chat(f"m{number}", request_id=f"r{number}")
    await house.llm.wait_for_requests(1)
    busy = await house.bot.ask("one too many", request_id="late")
    assert (busy["code"], busy["ahead"], busy["request_id"]) == ("busy", 2, "late")
    assert busy["retry_after_s"] > 0
    assert (await house.bot.ask("Hi", channel="#other"))["type"] == "llm_response"
    hold.set()
    outcomes = await house.bot.outcomes(5)
    assert [o["request_id"] for o in outcomes if o["request_id"][0] == "r"] == ["r0", "r1", "r2"]


async def test_both_inputs_share_the_order_of_a_channel(house: House) -> None:
    house.config["channels"] = {"mailbox_limit": 300}
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
