"""Rooms with different rules, side by side in one engine."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Any

import orjson
import pytest

from engine.interfaces.reports import prompt_rebuild
from storage.queries import turns
from storage.queries.reader import open_reader
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.patience import WAIT_S
from tests.support.reloads import engine
from tests.support.service_harness import House

LONG = "One is here. Two is here. Three is here."


def rules(house: House, *rules: dict[str, Any], **more: Any) -> None:
    house.config["channels"] = {"rules": list(rules), **more}


def add_provider(house: House, name: str, llm: LLMServer, **more: Any) -> None:
    table = {"kind": "openai", "base_url": f"{llm.url}/v1", "max_retries": 0, **more}
    house.config["providers"][name] = {"default_model": f"{name}-model", **table}


def proofs(house: House) -> list[bool | None]:
    """Whether each prompt of the history is proved."""
    path = house.folder / "data" / "rosey-llm.db"
    asked = "SELECT request_id FROM history WHERE details LIKE '%prompt_digest%'"
    ids = {row["request_id"] for row in house.rows(asked)}
    with closing(open_reader(path)) as connection:
        found = [turn for each in sorted(ids) for turn in turns.find(connection, each, None)]
        return [prompt_rebuild.rebuild(connection, turn).matches for turn in found]


def details(house: House, request_id: str) -> dict[str, Any]:
    sql = "SELECT details FROM history WHERE request_id = ? ORDER BY id DESC LIMIT 1"
    (row,) = house.rows(sql, request_id)
    found: dict[str, Any] = orjson.loads(row["details"])
    return found


async def test_a_rules_persona_is_that_of_channels_that_never_switched(house: House) -> None:
    rules(house, {"match": "irc/*", "persona": "Concise"})
    await house.open()
    assert (await house.bot.ask("Hi", "irc/#a"))["persona"] == "concise"
    assert (await house.bot.ask("Hi", "#a"))["persona"] == "default"
    shown = await house.bot.ask("persona", "irc/#a")
    assert shown["content"].startswith("Persona: concise. Others: default, ")
    await house.bot.ask("persona default", "irc/#a")
    assert (await house.bot.ask("Hi", "irc/#a"))["persona"] == "default"
    await house.restart()
    assert (await house.bot.ask("Hi", "irc/#a"))["persona"] == "default"
    assert (await house.bot.ask("Hi", "irc/#b"))["persona"] == "concise"


async def test_a_hint_follows_the_personas_prompt_and_is_proved(
    house: House, llm: LLMServer
) -> None:
    house.config["personas"] = {"pirate": {"prompt": "You are {bot_name} in {channel}."}}
    house.config["service"] = {"bot_name": "Beth", "default_persona": "pirate"}
    rules(house, {"match": "irc/*", "hint": "{bot_name} writes plain text on {platform}."})
    await house.open()
    for channel in ("irc/#a", "#a"):
        for line in ("Hi", "And?"):
            await house.bot.ask(line, channel, request_id=f"{line} {channel}")
    systems = [prompt[0]["content"] for prompt in llm.prompts]
    assert systems[:2] == ["You are Beth in #a.\n\nBeth writes plain text on irc."] * 2
    assert systems[2:] == ["You are Beth in #a."] * 2
    assert "hint_version" in details(house, "Hi irc/#a")
    assert "hint_version" not in details(house, "Hi #a")
    await house.bot.request(action="complete", channel_id="irc/#a", message="x", request_id="raw")
    await house.bot.outcomes(5)
    assert "hint_version" not in details(house, "raw")
    assert llm.prompts[-1] == [{"role": "user", "content": "x"}]
    assert proofs(house) == [True] * 5
    # Other texts by now: what was said is proved with the ones of its time.
    rules(house, {"match": "irc/*", "hint": "Be loud."})
    house.config["personas"] = {"pirate": {"prompt": "Arr."}}
    await house.reload()
    await house.bot.ask("So?", "irc/#a", request_id="later")
    assert llm.prompts[-1][0]["content"] == "Arr.\n\nBe loud."
    assert proofs(house) == [True] * 6


async def test_request_persona_rule_and_provider_count_in_this_order(
    house: House, llm: LLMServer
) -> None:
    house.config["personas"] = {
        "own": {"prompt": "Be.", "model": "of-persona", "temperature": 0.2, "max_tokens": 20},
        "none": {"prompt": "Be."},
    }
    house.config["providers"]["openai"] |= {"temperature": 0.4, "max_tokens": 40}
    rule = {"model": "of-rule", "temperature": 0.3, "max_tokens": 30}
    rules(house, {"match": "#ruled", **rule})
    await house.open()
    chosen = {"model": "of-request", "temperature": 0.1, "max_tokens": 10}
    for channel, more in (
        ("#ruled", {"persona": "own", **chosen}),
        ("#ruled", {"persona": "own"}),
        ("#ruled", {"persona": "none"}),
        ("#other", {"persona": "none"}),
        ("#ruled", {"persona": "none", "temperature": 0.0}),
        ("#ruled", {"action": "complete"}),
    ):
        message = {"action": "chat", "channel_id": channel, "message": "Hi", **more}
        await house.bot.call("llm.request", message)
    keys = ("model", "temperature", "max_tokens")
    sent = [tuple(request.body.get(key) for key in keys) for request in llm.requests]
    assert sent == [
        ("of-request", 0.1, 10),
        ("of-persona", 0.2, 20),
        ("of-rule", 0.3, 30),
        ("test-model", 0.4, 40),
        ("of-rule", 0.0, 30),
        ("of-rule", 0.3, 30),
    ]


async def test_a_rule_has_a_window_and_streaming_of_its_own(house: House, llm: LLMServer) -> None:
    rules(house, {"match": "#small", "max_context_messages": 3, "stream": False})
    await house.open()
    for channel in ("#small", "#large"):
        for line in ("one", "two", "three", "four"):
            await house.bot.ask(line, channel)
        assert llm.prompts[-1][-1]["content"] == "four"
    assert [len(llm.prompts[3]), len(llm.prompts[7])] == [1 + 3, 1 + 7]
    await house.bot.flush()
    assert {each["channel_id"] for each in house.bot.received_deltas()} == {"#large"}
    assert (await house.bot.ask("reset", "#small"))["content"] == (
        "Conversation reset: 2 messages cleared."
    )


async def test_a_rule_can_have_answers_streamed_that_others_have_not(house: House) -> None:
    house.config["conversation"] = {"stream": False}
    rules(house, {"match": "#live", "stream": True})
    await house.open()
    for channel in ("#live", "#whole"):
        await house.bot.ask("Hi", channel)
    await house.bot.flush()
    assert {each["channel_id"] for each in house.bot.received_deltas()} == {"#live"}


async def test_a_rule_lets_every_sender_hear_where_the_request_is(house: House) -> None:
    rules(house, {"match": "#told", "status": True})
    await house.open()
    heard = await house.bot.client.subscribe("llm.status")
    await house.bot.flush()
    for channel in ("#quiet", "#told"):
        await house.bot.ask("Hi", channel)
    states = [orjson.loads((await heard.next_msg(timeout=WAIT_S)).data) for _ in range(3)]
    assert [(each["channel_id"], each["state"]) for each in states] == [
        ("#told", "queued"),
        ("#told", "started"),
        ("#told", "ended"),
    ]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_long_answer_is_cut_at_a_sentence_everywhere(
    house: House, llm: LLMServer, stream: bool
) -> None:
    rules(house, {"match": "irc/*", "max_reply_chars": 30, "stream": stream})
    await house.open()
    llm.plan(*[Behaviour(text=LONG)] * 3)
    cut = await house.bot.ask("Hi", "irc/#a")
    assert (cut["content"], cut["finish_reason"]) == ("One is here. Two is here.", "length")
    assert "parts" not in cut
    whole = await house.bot.ask("Hi", "#a")
    assert (whole["content"], whole["finish_reason"]) == (LONG, "stop")
    message = {"action": "complete", "channel_id": "irc/#a", "message": "Hi"}
    raw = await house.bot.call("llm.request", message)
    assert raw["content"] == LONG
    await house.bot.flush()
    said = [each["delta"] for each in house.bot.received_deltas() if each["channel_id"] == "irc/#a"]
    assert "".join(said) == (cut["content"] if stream else "")
    assert house.history("irc/#a")[1] == ("answer", cut["content"])
    await house.bot.ask("And?", "irc/#a")
    assert llm.prompts[-1][2]["content"] == cut["content"]
    assert proofs(house) == [True] * 4


async def test_with_parts_nothing_is_cut_and_the_answer_is_a_list(
    house: House, llm: LLMServer
) -> None:
    rules(house, {"match": "irc/*", "max_reply_chars": 30, "parts": True})
    await house.open()
    llm.plan(Behaviour(text=LONG), Behaviour(text="Short."))
    long = await house.bot.ask("Hi", "irc/#a", request_id="long")
    assert long["parts"] == ["One is here. Two is here. ", "Three is here."]
    assert (long["content"], long["finish_reason"]) == (LONG, "stop")
    assert (await house.bot.ask("Hi", "irc/#a"))["parts"] == ["Short."]
    await house.bot.flush()
    said = [each["delta"] for each in house.bot.received_deltas()]
    assert "".join(said) == LONG + "Short."
    await house.restart()
    assert (await house.bot.ask("Hi", "irc/#a", request_id="long")) == long


async def test_a_rule_with_a_provider_has_no_fallback_of_its_own_accord(
    house: House, llm: LLMServer, other: LLMServer
) -> None:
    add_provider(house, "vllm", other)
    rules(
        house,
        {"match": "#alone", "provider": "vllm"},
        {"match": "#safe", "provider": "vllm", "fallback_providers": ["openai"]},
    )
    house.config["fallback_providers"] = ["vllm", "openai"]
    await house.open()
    assert (await house.bot.ask("Hi", "#alone"))["provider"] == "vllm"
    assert (await house.bot.ask("Hi", "#a"))["provider"] == "openai"
    other.plan(*[Behaviour(status=503)] * 2)
    failed = await house.bot.ask("Hi", "#alone", request_id="failed")
    assert (failed["type"], failed["code"]) == ("llm_error", "provider_unavailable")
    passed = await house.bot.ask("Hi", "#safe", request_id="passed")
    assert passed["provider"] == "openai"
    assert details(house, "passed")["asked"] == ["vllm", "openai"]
    assert "asked" not in details(house, "failed")  # the row names it as its provider
    llm.plan(Behaviour(status=503))
    assert (await house.bot.ask("Hi", "#a"))["provider"] == "vllm"


async def test_rooms_share_the_slots_of_a_provider_that_they_share(
    house: House, llm: LLMServer, other: LLMServer
) -> None:
    add_provider(house, "vllm", other, max_concurrency=1)
    rules(
        house,
        {"match": "#one", "provider": "vllm"},
        {"match": "#two", "provider": "vllm", "fallback_providers": ["openai"]},
    )
    await house.open()
    go_on = asyncio.Event()
    other.plan(Behaviour(hold=go_on))
    await house.bot.chat("Hi", "#one")
    await other.wait_for_requests(1)
    await house.bot.chat("Hi", "#two")
    statistics = engine(house).provider_statistics
    async with asyncio.timeout(WAIT_S):
        while statistics()["vllm"].slots.waiting != 1:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    assert [each.name for each in engine(house).providers] == ["openai", "vllm"]
    go_on.set()
    assert {each["provider"] for each in await house.bot.outcomes(2)} == {"vllm"}


async def test_what_stays_reaches_no_other_provider_not_by_one_byte(
    house: House, llm: LLMServer, other: LLMServer
) -> None:
    add_provider(house, "inside", other)
    house.config["fallback_providers"] = ["inside", "openai"]
    secret = {"match": "#secret", "provider": "inside", "stays": ["inside"]}
    rules(house, secret)
    await house.open()
    assert (await house.bot.ask("canary one", "#secret"))["provider"] == "inside"
    await other.stop()
    for line in ("canary two", "canary three"):
        assert (await house.bot.ask(line, "#secret"))["code"] == "provider_unavailable"
    message = {"action": "complete", "channel_id": "#secret", "message": "canary", "model": "gpt-4"}
    assert (await house.bot.call("llm.request", message))["code"] == "provider_unavailable"
    assert (await house.bot.ask("Hi", "#open"))["provider"] == "openai"
    # A reload that would let it out is refused; another one changes nothing of it.
    rules(house, secret | {"fallback_providers": ["openai"]})
    with pytest.raises(Exception, match='"openai" is not in it'):
        await house.reload()
    rules(house, secret | {"model": "another"})
    await house.reload()
    assert (await house.bot.ask("canary four", "#secret"))["code"] == "provider_unavailable"
    sent = orjson.dumps([request.body for request in llm.requests])
    assert b"Hi" in sent
    assert b"canary" not in sent
    assert b"secret" not in sent
    assert llm.connections == 1
