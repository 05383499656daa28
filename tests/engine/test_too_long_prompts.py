"""Tests of prompts that a provider finds too long: the window is halved until it fits."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.answering.shortened_windows import MOST_CHANNELS, MOST_HALVINGS, ShortenedWindows
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.service_harness import House

WORDY = "What about this? " * 10
TOO_MANY = "The input token count (9000) exceeds the maximum number of tokens allowed (8192)."
UNCLEAR = Behaviour(status=400, body={"error": {"message": "something is off"}})


def ollama(house: House) -> None:
    house.config["default_provider"] = "ollama"
    house.config["providers"] = {"ollama": {"base_url": house.llm.url, "max_retries": 0}}


def openai(house: House) -> None:
    """The house's own provider."""


@pytest.fixture(params=[openai, ollama], ids=["openai", "ollama"])
async def talked(request: pytest.FixtureRequest, house: House) -> House:
    """A house whose channel has eight long exchanges."""
    request.param(house)
    house.config["service"] = {"max_context_messages": 40}
    await house.open()
    await talk(house, 8)
    return house


async def talk(house: House, lines: int) -> None:
    for number in range(lines):
        assert (await house.bot.ask(f"{number} {WORDY}"))["type"] == "llm_response"


async def ask(house: House, stream: bool, line: str = "and now?") -> dict[str, Any]:
    message = {"action": "chat", "channel_id": "#lobby", "message": line, "username": "alice"}
    return await house.bot.call("llm.request", {**message, "stream": stream})


def exchanges(llm: LLMServer) -> list[int]:
    """Return how many exchanges each prompt showed."""
    roles = [[message["role"] for message in prompt] for prompt in llm.prompts]
    return [each.count("assistant") for each in roles]


def refused(text: str, status: int = 400) -> Behaviour:
    """Return a refusal in the protocol of either server."""
    return Behaviour(status=status, body={"error": {"message": text}})


both_ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@both_ways
async def test_a_prompt_that_is_too_long_is_halved_until_it_fits(
    talked: House, stream: bool
) -> None:
    talked.llm.plan(refused(TOO_MANY), refused(TOO_MANY, 413))
    answer = await ask(talked, stream)
    assert answer["content"] == "You said: and now?"
    assert exchanges(talked.llm)[-3:] == [8, 3, 1]


@both_ways
async def test_a_named_length_error_is_repeated_down_to_the_message_alone(
    talked: House, stream: bool
) -> None:
    named = Behaviour(status=400, body={"error": {"code": "context_length_exceeded"}})
    talked.llm.plan(*[named] * 4)
    failure = await ask(talked, stream)
    assert failure["code"] == "context_too_long"
    assert exchanges(talked.llm)[-4:] == [8, 3, 1, 0]


@both_ways
@pytest.mark.parametrize("status", [400, 413, 422])
async def test_an_unclear_refusal_is_tried_once_with_half_the_window(
    talked: House, stream: bool, status: int
) -> None:
    talked.llm.plan(refused("something is off", status))
    answer = await ask(talked, stream)
    assert answer["content"] == "You said: and now?"
    assert exchanges(talked.llm)[-2:] == [8, 3]


@both_ways
async def test_if_half_the_window_fails_too_the_first_error_is_given(
    talked: House, stream: bool
) -> None:
    talked.llm.plan(refused("the first"), refused("the second"))
    failure = await ask(talked, stream)
    assert failure["code"] == "provider_error"
    assert "the first" in failure["error"]
    assert exchanges(talked.llm)[-2:] == [8, 3]


@both_ways
async def test_a_channel_never_stays_stuck_on_its_own_history(talked: House, stream: bool) -> None:
    talked.llm.plan(UNCLEAR, UNCLEAR)
    assert (await ask(talked, stream))["type"] == "llm_error"
    for line in ("again", "and again", "and more"):
        assert (await ask(talked, stream, line))["content"] == f"You said: {line}"
    assert exchanges(talked.llm)[-5:] == [8, 3, 1, 4, 10]


async def test_after_a_refused_half_other_channels_keep_their_whole_window(talked: House) -> None:
    for number in range(8):
        await talked.bot.ask(f"{number} {WORDY}", "#other")
    talked.llm.plan(UNCLEAR, UNCLEAR)
    await ask(talked, stream=False)
    await talked.bot.ask("and here?", "#other")
    assert exchanges(talked.llm)[-1] == 8


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(status=401),
        Behaviour(status=404, body="no such page"),
        Behaviour(status=429),
        Behaviour(status=500),
        Behaviour(status=400, body={"error": {"message": "bad", "param": "model_kwargs.top_p"}}),
        Behaviour(status=400, body={"error": {"code": "content_filter"}}),
    ],
    ids=lambda behaviour: str(behaviour.status),
)
async def test_an_error_of_a_known_kind_is_not_tried_with_half_the_window(
    talked: House, behaviour: Behaviour
) -> None:
    calls = len(talked.llm.prompts)
    talked.llm.plan(behaviour)
    assert (await ask(talked, stream=False))["type"] == "llm_error"
    assert len(talked.llm.prompts) == calls + 1


@pytest.mark.parametrize("text", [TOO_MANY, "something is off"])
async def test_the_window_of_a_short_prompt_is_never_halved(house: House, text: str) -> None:
    house.config["personas"] = {"default": {"prompt": "Be brief."}}
    await house.open()
    for line in ("one", "two", "three"):
        await house.bot.ask(line)
    house.llm.plan(refused(text))
    assert (await house.bot.ask("four"))["type"] == "llm_error"
    assert len(house.llm.prompts) == 4


@both_ways
async def test_a_shorter_prompt_is_tried_before_another_provider(
    house: House, stream: bool
) -> None:
    house.config["fallback_providers"] = ["spare"]
    house.config["providers"]["spare"] = {"kind": "scripted", "reply": "I am the spare."}
    await house.open()
    await talk(house, 4)
    house.llm.plan(UNCLEAR)
    assert (await ask(house, stream))["provider"] == "openai"
    # If half the window fails too, the other provider is asked, and so it is without a history.
    house.llm.plan(UNCLEAR, UNCLEAR)
    assert (await ask(house, stream))["provider"] == "spare"
    house.llm.plan(UNCLEAR)
    assert (await house.bot.ask("Hi", "#other"))["provider"] == "spare"


async def test_the_details_name_the_shorter_prompt(talked: House) -> None:
    talked.llm.plan(UNCLEAR)
    await ask(talked, stream=False)
    rows = talked.rows("SELECT details FROM history WHERE kind = 'answer' ORDER BY id DESC LIMIT 1")
    assert orjson.loads(rows[0]["details"])["exchanges"] == 3


def test_the_memory_of_refused_windows_is_bounded() -> None:
    windows = ShortenedWindows()
    for number in range(MOST_CHANNELS + 5):
        windows.note_refused((f"#{number}", "openai", ""), 1)
    assert windows.halvings(("#0", "openai", "")) == 0
    last = (f"#{MOST_CHANNELS + 4}", "openai", "")
    assert windows.halvings(last) == 2
    for _ in range(20):
        windows.note_refused(last, windows.halvings(last))
    assert windows.halvings(last) == MOST_HALVINGS
    while halvings := windows.halvings(last):
        windows.note_answered(last, halvings)
        assert windows.halvings(last) == halvings - 1
