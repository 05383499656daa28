"""The message contract, chat commands: reset, persona, help and stop."""

from __future__ import annotations

import asyncio
import re

import pytest

from engine.texts import sentences
from tests.fakes.llm_server import Behaviour
from tests.support.service_harness import House


@pytest.fixture
async def house(house: House) -> House:
    return await house.open()


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
        ("model", "Model: openai/test-model. No other one can be chosen here."),
        ("stop", "Stop: no answer is being written."),
        (
            "usage",
            "Usage today: you 0 questions, 0 tokens; this channel 0 questions, 0 tokens.",
        ),
        ("help", sentences.HELP.english),
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
    for command in (
        "TEXT",
        "reset",
        "persona",
        "persona NAME",
        "model",
        "model NAME",
        "stop",
        "usage",
        "help",
    ):
        assert f"!chat {command} " in sentences.HELP.english


@pytest.mark.parametrize(
    "line",
    [
        "reset my router, how?",
        "help me with Python",
        "stop words in NLP?",
        "persona non grata means what?",
        "model trains are fun",
    ],
)
async def test_a_question_that_begins_like_a_command_is_a_question(house: House, line: str) -> None:
    assert (await house.bot.ask(line))["content"] == f"You said: {line}"


async def test_stop_cuts_off_the_answer_and_waiting_messages_continue(house: House) -> None:
    house.llm.plan(Behaviour(hang_after=1))
    await house.bot.chat("tell me everything", request_id="long")
    await house.bot.chat("next", request_id="next", username="bob")
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
