"""Tests that the details of an answer in history match what the model's server received."""

from __future__ import annotations

import hmac
from typing import Any

import orjson

from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.service_harness import House


def digest_of(messages: list[dict[str, Any]], salt: str) -> str:
    plain = [{"role": each["role"], "content": each["content"]} for each in messages]
    return hmac.new(bytes.fromhex(salt), orjson.dumps(plain), "sha256").hexdigest()


def details(house: House, kind: str) -> dict[str, Any]:
    """Return the details of the newest row of a kind, and the salt of its prompt."""
    (row,) = house.rows(
        "SELECT details, personal FROM history WHERE kind = ? ORDER BY id DESC LIMIT 1", kind
    )
    found: dict[str, Any] = orjson.loads(row["details"]) | orjson.loads(row["personal"])
    return found


async def test_the_prompt_that_history_names_is_the_one_that_was_sent(
    house: House, llm: LLMServer
) -> None:
    await house.open()
    for number, line in enumerate(("one", "two", "three")):
        await house.bot.ask(line)
        noted = details(house, "answer")
        assert noted["exchanges"] == number
        assert noted["prompt_digest"] == digest_of(
            llm.requests[-1].body["messages"], noted["prompt_salt"]
        )


async def test_the_text_of_the_persona_is_kept_by_its_version(house: House, llm: LLMServer) -> None:
    await house.open()
    await house.bot.ask("persona technical")
    await house.bot.ask("Hello")
    version = details(house, "answer")["persona_version"]
    kept = house.rows("SELECT name, prompt FROM persona_version WHERE version = ?", version)
    system = llm.requests[-1].body["messages"][0]["content"]
    assert kept == [{"name": "technical", "prompt": system}]


async def test_settings_and_calls_are_noted_as_they_were_made(house: House, llm: LLMServer) -> None:
    house.config["providers"]["openai"]["max_retries"] = 1
    await house.open()
    llm.plan(Behaviour(status=503))
    await house.bot.call(
        "llm.request",
        {"action": "chat", "channel_id": "#lobby", "message": "Hi", "temperature": 0.25},
    )
    noted = details(house, "answer")
    assert (noted["attempts"], noted["temperature"]) == (2, 0.25)
    assert noted["accepted_ms"] <= noted["started_ms"]
    assert noted["waited_ms"] >= 0


async def test_a_failed_turn_records_its_provider_and_its_prompt(
    house: House, llm: LLMServer
) -> None:
    await house.open()
    llm.plan(Behaviour(status=401))
    await house.bot.ask("Hello")
    noted = details(house, "error")
    assert noted["prompt_digest"] == digest_of(
        llm.requests[-1].body["messages"], noted["prompt_salt"]
    )
    assert (
        house.rows("SELECT provider FROM history WHERE kind = 'error'")[0]["provider"] == "openai"
    )


async def test_a_raw_completion_is_a_prompt_of_one_message(house: House, llm: LLMServer) -> None:
    await house.open()
    await house.bot.request(action="complete", message="Once upon a time")
    await house.bot.outcomes(1)
    noted = details(house, "completion")
    assert noted["exchanges"] == 0
    assert "persona_version" not in noted
    text = {"role": "user", "content": "Once upon a time"}
    assert noted["prompt_digest"] == digest_of([text], noted["prompt_salt"])
