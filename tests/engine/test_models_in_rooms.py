"""`!chat model` in rooms: who answers, what holds beside it, and how long it lasts."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import Any

import orjson
import pytest

from tests.engine.test_rules_in_rooms import add_provider, details, rules
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.reloads import engine, outcome
from tests.support.service_harness import House, ReceivedMessage

ALLOW = ["openai/*", "vllm/big", "vllm/fast-?"]


@pytest.fixture
def house(house: House, other: LLMServer) -> House:
    add_provider(house, "vllm", other)
    house.config["models"] = {"allow": ALLOW}
    house.config["permissions"] = {"model": "*"}
    return house


async def said(house: House, line: str, channel: str = "#lobby") -> str:
    answer = await house.bot.ask(line, channel)
    return str(answer.get("content") or answer["error"])


async def answered_by(house: House, channel: str = "#lobby", **more: Any) -> str:
    """Ask something, and return who answered."""
    request = {"action": "chat", "channel_id": channel, "message": "Hi", **more}
    answer = await house.bot.call("llm.request", request)
    return f"{answer['provider']}/{answer['model']}" if "content" in answer else answer["code"]


async def test_a_switch_is_for_its_channel_and_is_one_row(house: House) -> None:
    await house.open()
    assert await said(house, "model") == (
        "Model: openai/test-model. Others: openai/*, vllm/big, vllm/fast-?."
        " Switch with: !chat model NAME"
    )
    switched = await house.bot.ask("MODEL vllm/big", request_id="s")
    assert (switched["action"], switched["content"]) == ("model", "Model: vllm/big from now on.")
    assert (switched["provider"], switched["model"]) == ("vllm", "big")
    assert await answered_by(house) == "vllm/big"
    assert await answered_by(house, "#other") == "openai/test-model"
    shown = await house.bot.ask("model")
    assert (shown["provider"], shown["model"]) == ("vllm", "big")
    assert shown["content"].startswith("Model: vllm/big. Others: openai/*, vllm/fast-?. ")
    assert await house.bot.ask("model vllm/fast-1", request_id="s") == switched  # sent again
    assert await answered_by(house) == "vllm/big"
    rows = house.rows("SELECT * FROM history WHERE kind LIKE 'model%' ORDER BY id")
    assert [(r["kind"], r["username"], r["provider"], r["model"], r["content"]) for r in rows] == [
        ("models", "alice", None, None, ""),
        ("model", "alice", "vllm", "big", ""),
        ("models", "alice", None, None, ""),
    ]


async def test_it_survives_a_reset_leaving_memory_and_a_restart(house: House) -> None:
    house.config["channels"] = {"passivate_after_s": 1e-6, "snapshot_interval_s": 3600.0}
    await house.open()
    await said(house, "model vllm/big")
    await said(house, "reset")
    await engine(house).supervisor.residents.passivate_idle()
    assert engine(house).supervisor.residents.get("#lobby") is None
    assert await answered_by(house) == "vllm/big"
    await house.restart()
    assert await answered_by(house) == "vllm/big"
    for number in range(12):  # more than a window
        await answered_by(house, message=f"question {number}")
    await house.close()
    with closing(sqlite3.connect(house.folder / "data" / "rosey-llm.db")) as connection:
        assert connection.execute("DELETE FROM snapshot").rowcount == 1
        connection.commit()
    await house.open()
    assert await answered_by(house) == "vllm/big"
    back = "Model: openai/test-model from now on, as configured."
    assert await said(house, "model Default") == back
    assert await answered_by(house) == "openai/test-model"
    await house.restart()
    assert await answered_by(house) == "openai/test-model"


async def test_request_room_persona_rule_and_provider_count_in_this_order(
    house: House, llm: LLMServer, other: LLMServer
) -> None:
    house.config["personas"] = {"own": {"prompt": "Be.", "model": "of-persona", "max_tokens": 7}}
    rules(house, {"match": "#ruled", "model": "of-rule", "persona": "own", "temperature": 0.1})
    await house.open()
    for line in ("model gpt-5", "model vllm/fast-2"):
        await said(house, line, "#ruled")
        await answered_by(house, "#ruled")
    assert (llm.requests[-1].body["model"], other.requests[-1].body["model"]) == ("gpt-5", "fast-2")
    for sent in (llm.requests[-1].body, other.requests[-1].body):
        assert (sent["max_tokens"], sent["temperature"]) == (7, 0.1)
    # A request that names a model is answered as if none had been chosen, and so is a completion.
    assert await answered_by(house, "#ruled", model="asked") == "openai/asked"
    assert await answered_by(house, "#ruled", action="complete") == "openai/of-rule"
    assert await answered_by(house, "#ruled", persona="own") == "vllm/fast-2"
    await said(house, "model default", "#ruled")
    assert await answered_by(house, "#ruled") == "openai/of-persona"


async def test_a_chosen_model_has_no_fallback_but_that_of_the_rule(
    house: House, llm: LLMServer, other: LLMServer
) -> None:
    house.config["fallback_providers"] = ["vllm"]
    rules(house, {"match": "#safe", "fallback_providers": ["openai"]})
    await house.open()
    for channel in ("#lobby", "#safe"):
        await said(house, "model vllm/big", channel)
    other.plan(*[Behaviour(status=503)] * 2)
    assert await answered_by(house, "#lobby", request_id="alone") == "provider_unavailable"
    assert await answered_by(house, "#safe", request_id="safe") == "openai/test-model"
    assert details(house, "alone")["model_from"] == "channel"
    assert details(house, "safe")["asked"] == ["vllm", "openai"]
    await answered_by(house, "#none", request_id="none")
    assert "model_from" not in details(house, "none")


async def test_what_stays_is_offered_and_sent_to_no_other_provider(
    house: House, other: LLMServer
) -> None:
    rules(house, {"match": "in/*", "stays": ["openai"]})
    await house.open()
    assert await said(house, "model", "in/#a") == (
        "Model: openai/test-model. Others: openai/*. Switch with: !chat model NAME"
    )
    refused = await house.bot.ask("model vllm/big", "in/#a")
    assert refused["code"] == "not_allowed"
    assert await answered_by(house, "in/#a") == "openai/test-model"
    assert other.connections == 0


async def test_a_model_that_the_provider_lacks_is_the_rooms_mistake(
    house: House, other: LLMServer
) -> None:
    await house.open()
    await said(house, "model vllm/fast-9")
    missing = {"error": {"message": "no such model", "code": "model_not_found"}}
    other.plan(Behaviour(status=404, body=missing))
    assert await answered_by(house) == "model_not_found"
    statistics = engine(house).provider_statistics()
    assert statistics["vllm"].misconfigured is None
    assert await answered_by(house) == "vllm/fast-9"


async def test_a_reload_that_takes_it_out_is_said_and_one_that_allows_it_again_counts(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await house.open()
    await said(house, "model vllm/big")
    for allow in (["openai/*"], []):
        caplog.clear()
        house.config["models"] = {"allow": allow}
        assert "models.allow" in (await house.reload()).settings
        for _ in range(2):
            assert await answered_by(house) == "openai/test-model"
        logged = [each for each in caplog.records if "has chosen vllm/big" in each.getMessage()]
        assert len(logged) == 1
        others = (
            "Others: openai/*. Switch with: !chat model NAME"
            if allow
            else ("No other one can be chosen here.")
        )
        assert await said(house, "model") == (
            f"Model: openai/test-model, because vllm/big is not allowed any more. {others}"
        )
    assert await said(house, "model vllm/big") == (
        'Model "vllm/big" cannot be chosen: [models] allow names none for this channel.'
    )
    assert [each.name for each in engine(house).providers] == ["openai"]
    await house.restart()
    assert await answered_by(house) == "openai/test-model"
    house.config["models"] = {"allow": ALLOW}
    await house.reload()
    assert await answered_by(house) == "vllm/big"


async def test_a_running_turn_ends_with_the_model_it_began_with(
    house: House, other: LLMServer
) -> None:
    await house.open()
    await said(house, "model vllm/big")
    go_on = asyncio.Event()
    other.plan(Behaviour(hold=go_on))
    await house.bot.chat("Hi", request_id="begun")
    await other.wait_for_requests(1)
    await house.bot.chat("model gpt-5", request_id="switch")
    await house.bot.chat("Hi", request_id="behind")
    await house.bot.flush()
    house.config["models"] = {"allow": ["openai/*"]}
    del house.config["providers"]["vllm"]
    await house.reload()
    go_on.set()
    assert model_of(await outcome(house, "begun")) == "vllm/big"
    assert model_of(await outcome(house, "switch")) == "openai/gpt-5"
    assert model_of(await outcome(house, "behind")) == "openai/gpt-5"
    await other.wait_until_left()  # it was closed after its last turn


def model_of(answer: ReceivedMessage) -> str:
    return f"{answer['provider']}/{answer['model']}"


async def test_by_default_nothing_can_be_chosen_and_only_by_admins(house: House) -> None:
    del house.config["models"], house.config["permissions"]
    house.config["permissions"] = {"admins": ["Boss"]}
    await house.open()
    assert await said(house, "model") == (
        "Model: openai/test-model. No other one can be chosen here."
    )
    for line in ("model openai/gpt-5", "model default"):
        refused = await house.bot.ask(line, request_id="r")
        assert (refused["code"], refused["error"]) == (
            "not_allowed",
            "Only admins may switch the model here.",
        )
    assert house.rows("SELECT * FROM history WHERE request_id = 'r'") == []
    fixed = await house.bot.ask("model openai/gpt-5", username="boss", request_id="f")
    assert (fixed["code"], fixed["action"]) == ("not_allowed", "model")
    (row,) = house.rows("SELECT kind, code, content FROM history WHERE request_id = 'f'")
    assert row == {"kind": "error", "code": "not_allowed", "content": fixed["error"]}


async def test_a_question_with_the_word_is_a_question(house: House) -> None:
    await house.open()
    assert await said(house, "model trains are fun") == "You said: model trains are fun"


async def test_a_provider_that_nobody_has_chosen_yet_is_not_touched(
    house: House, other: LLMServer
) -> None:
    await house.open()
    await answered_by(house)
    assert [each.name for each in engine(house).providers] == ["openai", "vllm"]
    assert other.connections == 0
    sent = orjson.dumps([each.body for each in house.llm.requests])
    assert b"Hi" in sent
