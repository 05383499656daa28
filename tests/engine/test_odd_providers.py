"""Tests over NATS of what odd servers do to an answer: what the room gets, and what is kept."""

from __future__ import annotations

import asyncio
import hmac
from typing import Any

import orjson
import pytest

from engine.interfaces.audit.admission import Admission
from engine.interfaces.audit.server import build
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.command_line import rosey
from tests.support.service_harness import House
from tests.support.wire_replies import SSE, delta, events, json_of, lines, message, piece, refusal

TEXT = "Hello world. How are you?"
KINDS = ["openai", "ollama"]
STREAMED = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
EACH_KIND = pytest.mark.parametrize("kind", KINDS)


async def opened(house: House, llm: LLMServer, kind: str, **config: Any) -> House:
    """Start an engine whose provider is of this kind."""
    if kind == "ollama":
        house.config["default_provider"] = "ollama"
        house.config["providers"] = {"ollama": {"base_url": llm.url, "max_retries": 0}}
    house.config["providers"][kind] |= config
    return await house.open()


async def asked(house: House, stream: bool, text: str = "Hello") -> dict[str, Any]:
    """Return the outcome of a chat, whose deltas must join to its content."""
    call = {"action": "chat", "channel_id": "#lobby", "message": text, "stream": stream}
    before = len(house.bot.received)
    outcome = await house.bot.call("llm.request", call)
    await house.bot.until(lambda: outcome in house.bot.received)
    deltas = [each for each in house.bot.received[before:] if each["type"] == "llm_delta"]
    if stream and "content" in outcome:
        assert "".join(each["delta"] for each in deltas) == outcome["content"]
    return outcome


def details(house: House, kind: str = "answer") -> dict[str, Any]:
    (row,) = house.rows(
        "SELECT details, personal FROM history WHERE kind = ? ORDER BY id DESC LIMIT 1", kind
    )
    found: dict[str, Any] = orjson.loads(row["details"]) | orjson.loads(row["personal"])
    return found


@STREAMED
@EACH_KIND
async def test_a_text_that_comes_twice_is_shown_and_stored_once(
    house: House, llm: LLMServer, kind: str, stream: bool
) -> None:
    await opened(house, llm, kind)
    if not stream:
        llm.plan(Behaviour(text=TEXT))
    elif kind == "openai":
        last = message(TEXT)
        last["choices"][0]["delta"] = {}
        llm.plan(events(delta(TEXT[:7]), delta(TEXT[7:]), last, "[DONE]"))
    else:
        llm.plan(lines(piece(TEXT[:7]), piece(TEXT[7:]), piece(TEXT, done=True)))
    assert (await asked(house, stream))["content"] == TEXT
    assert house.history()[-1] == ("answer", TEXT)


@STREAMED
@EACH_KIND
async def test_a_moved_system_text_is_named_in_history_and_the_digest_is_of_the_neutral_prompt(
    house: House, llm: LLMServer, kind: str, stream: bool
) -> None:
    await opened(house, llm, kind)
    llm.plan(refusal({"error": "System role not supported"}))
    outcome = await asked(house, stream)
    assert outcome["content"] == f"You said: {llm.prompts[-1][-1]['content']}"
    kept = details(house)
    refused, sent = llm.prompts
    assert kept["sent_as"] == ["system_in_user"]
    salt = bytes.fromhex(kept["prompt_salt"])
    assert kept["prompt_digest"] == hmac.new(salt, orjson.dumps(refused), "sha256").hexdigest()
    assert [m["role"] for m in refused] == ["system", "user"]
    assert [m["role"] for m in sent] == ["user"]
    await asked(house, stream)
    assert len(llm.prompts) == 3
    assert details(house)["sent_as"] == ["system_in_user"]


@STREAMED
@EACH_KIND
async def test_a_refused_field_does_not_reach_the_room(
    house: House, llm: LLMServer, kind: str, stream: bool
) -> None:
    await opened(house, llm, kind)
    llm.plan(refusal({"detail": [{"loc": ["body", "temperature"], "msg": "Extra inputs"}]}, 422))
    assert (await asked(house, stream))["content"] == "You said: Hello"
    assert details(house)["sent_as"] == ["without_temperature"]


async def test_events_one_newline_apart_and_nan_reach_the_room(
    house: House, llm: LLMServer
) -> None:
    await opened(house, llm, "openai")
    first = json_of(delta(TEXT[:7]))[:-1] + ', "logprobs": NaN}'
    body = f"data: {first}\ndata: {json_of(delta(TEXT[7:], 'stop'))}\ndata: [DONE]\n"
    llm.plan(Behaviour(body=body, content_type=SSE))
    assert (await asked(house, stream=True))["content"] == TEXT
    whole_body = json_of(message(TEXT))[:-1] + ', "logprobs": NaN}'
    llm.plan(Behaviour(body=whole_body))
    assert (await asked(house, stream=False))["content"] == TEXT


@STREAMED
async def test_a_refusal_is_the_answer_of_the_turn(
    house: House, llm: LLMServer, stream: bool
) -> None:
    await opened(house, llm, "openai")
    said = {"content": None, "refusal": "I cannot."}
    chunk = {"choices": [{"delta": said}]}
    body = Behaviour(body={"choices": [{"message": said, "finish_reason": "stop"}]})
    llm.plan(events(chunk, delta(None, "stop"), "[DONE]") if stream else body)
    outcome = await asked(house, stream)
    assert (outcome["content"], outcome["finish_reason"]) == ("I cannot.", "content_filter")


@STREAMED
async def test_a_withheld_answer_has_the_code_refused(
    house: House, llm: LLMServer, stream: bool
) -> None:
    await opened(house, llm, "openai")
    llm.plan(Behaviour(text="", finish_reason="content_filter"))
    outcome = await asked(house, stream)
    assert outcome["code"] == "refused"
    assert "content filter" in outcome["error"]


@STREAMED
@EACH_KIND
async def test_an_answer_that_was_all_thinking_says_what_to_raise(
    house: House, llm: LLMServer, kind: str, stream: bool
) -> None:
    await opened(house, llm, kind)
    llm.plan(Behaviour(text="<think>hm", finish_reason="length"))
    outcome = await asked(house, stream)
    assert outcome["code"] == "provider_error"
    assert "raise max_tokens" in outcome["error"]


@STREAMED
@pytest.mark.parametrize(("kind", "reason"), [("openai", "stop"), ("ollama", "load")])
async def test_an_empty_stop_is_tried_again(
    house: House, llm: LLMServer, kind: str, reason: str, stream: bool
) -> None:
    await opened(house, llm, kind, max_retries=1)
    llm.plan(Behaviour(text="", finish_reason=reason))
    assert (await asked(house, stream))["content"] == "You said: Hello"
    assert details(house)["attempts"] == 2


@STREAMED
async def test_a_prompt_that_ollama_cut_is_marked(
    house: House, llm: LLMServer, stream: bool
) -> None:
    await opened(house, llm, "ollama")
    end = {"done": True, "prompt_eval_count": 4096, "eval_count": 9}
    llm.plan(lines(piece("Hi"), end) if stream else Behaviour(body=piece("Hi") | end))
    await asked(house, stream, "word " * 1000)
    assert details(house)["prompt_cut"] is True
    await asked(house, stream)
    assert "prompt_cut" not in details(house)


async def test_history_shows_that_a_prompt_was_cut(house: House, llm: LLMServer) -> None:
    await opened(house, llm, "ollama")
    end = {"done": True, "prompt_eval_count": 4096, "eval_count": 9}
    llm.plan(Behaviour(body=piece("Hi") | end))
    cut, uncut = [await asked(house, False, "word " * 1000), await asked(house, False)]
    said = "The server seems to have dropped the start of this prompt: raise context_tokens."
    for outcome, shown in ((cut, True), (uncut, False)):
        command = ("--database", "data/rosey-llm.db", "prompt", outcome["request_id"])
        done = await asyncio.to_thread(rosey, house.folder, "history", *command)
        assert (said in done.stdout) is shown
        assert "prompt:        exact" in done.stdout
    admission = Admission()
    page = build(house.folder / "data" / "rosey-llm.db", admission).client
    right = {"Authorization": f"Bearer {admission.key}"}
    (row, *_) = house.rows("SELECT id FROM history WHERE kind = 'answer' ORDER BY id")
    assert said in (await page.get(f"/turn/{row['id']}", headers=right)).text


@STREAMED
async def test_a_broken_mark_is_named_and_the_message_is_kept_as_it_was(
    house: House, llm: LLMServer, stream: bool
) -> None:
    await opened(house, llm, "ollama")
    await asked(house, stream, "a <|im_end|> b")
    assert llm.prompts[-1][-1]["content"] == "a < |im_end|> b"
    assert details(house)["sent_as"] == ["marks_broken"]
    assert house.history()[0][1] == "a <|im_end|> b"
