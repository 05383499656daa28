"""Tests that an answer without text says why it has none, and that a refusal is an answer."""

from __future__ import annotations

from typing import Any

import pytest

from providers.errors import BadAnswer, ContentWithheld, EmptyAnswer, ProviderError
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.wire_replies import (
    delta,
    events,
    lines,
    message,
    ollama_at,
    openai_at,
    piece,
    streamed,
    whole,
)

THOUGHT = "the model thought until max_tokens; raise max_tokens or turn thinking off"
TOOL = {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
HIDDEN = {"usage": {"completion_tokens_details": {"reasoning_tokens": 9}}}

# What the answer has beside an empty content, its finish reason, the error, the end of its text.
EMPTY: dict[str, tuple[dict[str, Any], Any, type[ProviderError], str]] = {
    "thought to the end": ({"reasoning_content": "hm"}, "length", BadAnswer, THOUGHT),
    "thought, by its other name": ({"reasoning": "hm"}, "max_tokens", BadAnswer, THOUGHT),
    "thought in tags": ({"content": "<think>hm"}, "length", BadAnswer, THOUGHT),
    "thought in parts": (
        {"content": [{"type": "thinking", "thinking": "hm"}]},
        "length",
        BadAnswer,
        THOUGHT,
    ),
    "no room": (
        {},
        "length",
        BadAnswer,
        "max_tokens was reached before any text; raise max_tokens",
    ),
    "only thought": ({"reasoning": "hm"}, "stop", BadAnswer, "the model only thought"),
    "filtered": ({}, "content_filter", ContentWithheld, "a content filter stopped it"),
    "filtered for safety": ({}, "SAFETY", ContentWithheld, "a content filter stopped it"),
    "refused without a word": ({}, "refusal", ContentWithheld, "a content filter stopped it"),
    "a tool": (TOOL, "tool_calls", BadAnswer, "the model only called a tool"),
    "a tool, though it stopped": (TOOL, "stop", BadAnswer, "the model only called a tool"),
    "another reason": ({}, "no_resources", BadAnswer, "finish reason no_resources"),
    "nothing": ({}, "stop", EmptyAnswer, "gave an empty answer"),
    "nothing, and eos": ({}, "eos", EmptyAnswer, "gave an empty answer"),
    "only space": ({"content": " \n"}, "stop", EmptyAnswer, "gave an empty answer"),
}


@pytest.mark.parametrize("name", EMPTY)
async def test_an_answer_without_text_says_why(llm: LLMServer, name: str) -> None:
    beside, reason, error, end = EMPTY[name]
    said = {"role": "assistant", "content": None, **beside}
    llm.plan(
        Behaviour(body={"choices": [{"message": said, "finish_reason": reason}]}),
        events({"choices": [{"delta": said}]}, delta("", reason), "[DONE]"),
    )
    async with openai_at(llm) as provider:
        for ask in (whole, streamed):
            with pytest.raises(ProviderError) as caught:
                await ask(provider)
            assert type(caught.value) is error
            assert str(caught.value).endswith(end)
            assert caught.value.code == (
                "refused" if error is ContentWithheld else "provider_error"
            )


async def test_thinking_that_is_only_counted_is_known_as_thinking(llm: LLMServer) -> None:
    llm.plan(
        Behaviour(body=message("", "length") | HIDDEN),
        events(delta("", "length") | HIDDEN, "[DONE]"),
    )
    async with openai_at(llm) as provider:
        for ask in (whole, streamed):
            with pytest.raises(BadAnswer, match="the model thought until max_tokens"):
                await ask(provider)


async def test_an_end_without_a_reason_is_an_empty_stop(llm: LLMServer) -> None:
    llm.plan(events("[DONE]"), Behaviour(body=message("", None)))
    async with openai_at(llm) as provider:
        for ask in (streamed, whole):
            with pytest.raises(EmptyAnswer):
                await ask(provider)


NATIVE: dict[str, tuple[dict[str, Any], str, type[ProviderError], str]] = {
    "thought to the end": ({"thinking": "hm"}, "length", BadAnswer, THOUGHT),
    "a tool": (TOOL, "stop", BadAnswer, "the model only called a tool"),
    "loaded": ({}, "load", EmptyAnswer, "it only loaded its model"),
    "unloaded": ({}, "unload", EmptyAnswer, "it only loaded its model"),
    "nothing": ({}, "stop", EmptyAnswer, "gave an empty answer"),
    "no room": ({}, "length", BadAnswer, "raise max_tokens"),
}


@pytest.mark.parametrize("name", NATIVE)
async def test_an_answer_of_ollama_without_text_says_why(llm: LLMServer, name: str) -> None:
    beside, reason, error, end = NATIVE[name]
    said = {"message": {"content": "", **beside}, "done": False}
    ended = {"done": True, "done_reason": reason}
    llm.plan(Behaviour(body=said | ended), lines(said, piece("") | ended))
    async with ollama_at(llm) as provider:
        for ask in (whole, streamed):
            with pytest.raises(ProviderError) as caught:
                await ask(provider)
            assert type(caught.value) is error
            assert str(caught.value).endswith(end)


def test_only_an_empty_stop_is_tried_again() -> None:
    assert EmptyAnswer.retryable
    assert not BadAnswer.retryable
    assert not ContentWithheld.retryable


# --- Refusals with text


REFUSED = "I cannot help with that."


@pytest.mark.parametrize(
    "said",
    [
        {"content": None, "refusal": REFUSED},
        {"content": "", "refusal": REFUSED},
        {"content": [{"type": "refusal", "refusal": REFUSED}]},
    ],
    ids=["no content", "empty content", "a part"],
)
async def test_a_refusal_is_the_answer(llm: LLMServer, said: dict[str, Any]) -> None:
    llm.plan(
        Behaviour(body={"choices": [{"message": said, "finish_reason": "stop"}]}),
        events({"choices": [{"delta": said}]}, delta(None, "stop"), "[DONE]"),
    )
    async with openai_at(llm) as provider:
        for ask in (whole, streamed):
            answer = await ask(provider)
            assert (answer.content, answer.finish_reason) == (REFUSED, "content_filter")


async def test_a_refusal_in_pieces_is_the_answer(llm: LLMServer) -> None:
    chunks = [{"choices": [{"delta": {"refusal": text}}]} for text in ("I can", "not.")]
    end = {"content": None, "refusal": "I cannot."}
    last = {"choices": [{"delta": {}, "message": end, "finish_reason": "stop"}]}
    llm.plan(events(*chunks, last, "[DONE]"))
    async with openai_at(llm) as provider:
        answer = await streamed(provider)
    assert (answer.content, answer.finish_reason) == ("I cannot.", "content_filter")


async def test_text_that_a_filter_cut_short_is_kept(llm: LLMServer) -> None:
    llm.plan(events(delta("Once"), delta("", "content_filter"), "[DONE]"))
    async with openai_at(llm) as provider:
        answer = await streamed(provider)
    assert (answer.content, answer.finish_reason) == ("Once", "content_filter")
