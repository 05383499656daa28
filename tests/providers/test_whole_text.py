"""Tests that the text of an answer is taken once, also from servers that send it twice."""

from __future__ import annotations

import pytest

from providers.http.draft import Draft
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

TEXT = "Hello world. How are you?"
END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
ENDING_WITH_ALL = {
    "choices": [{"delta": {}, "finish_reason": "stop", "message": {"content": TEXT}}]
}
THOUGHT = "<think>hm</think>"

STREAMS: dict[str, list[object]] = {
    "all at the end, beside an empty delta": [delta(TEXT), ENDING_WITH_ALL],
    "all at the end, in many pieces before": [delta("Hello"), delta(TEXT[5:]), ENDING_WITH_ALL],
    "all at the end, without a delta": [delta(TEXT), message(TEXT)],
    "all at the end, and the end before it": [delta(TEXT), END, message(TEXT, None)],
    "only at the end": [delta(""), ENDING_WITH_ALL],
    "the last piece only in the whole text": [delta(TEXT[:9]), ENDING_WITH_ALL],
    "all at the end without its space": [delta(" \n" + TEXT[:9]), delta(TEXT[9:]), ENDING_WITH_ALL],
    "all at the end without its thinking": [delta(THOUGHT + TEXT[:9]), ENDING_WITH_ALL],
    "all at the end with its thinking": [delta(THOUGHT + TEXT), message(THOUGHT + TEXT)],
    "another text at the end": [delta(TEXT), message("Hello again.")],
    "all in the last delta": [delta(TEXT[:9]), delta(TEXT[9:]), delta(TEXT, "stop")],
    "all so far in each message": [message(TEXT[:9], None), message(TEXT), "[DONE]"],
    "a piece in each message": [message(TEXT[:9], None), message(TEXT[9:], "stop")],
    "a usage chunk with a message": [delta(TEXT, "stop"), message(TEXT, None) | {"usage": {}}],
    "a whole answer as the last event": [
        delta(TEXT),
        message(TEXT) | {"object": "chat.completion"},
    ],
    "the older kind": [
        {"choices": [{"text": TEXT[:9]}]},
        {"choices": [{"text": TEXT[9:], "finish_reason": "stop"}]},
    ],
}


@pytest.mark.parametrize("name", STREAMS)
async def test_a_token_stream_gives_its_text_once(llm: LLMServer, name: str) -> None:
    llm.plan(events(*STREAMS[name], "[DONE]"))
    async with openai_at(llm) as provider:
        completion = await streamed(provider)
    assert completion.content.strip() == TEXT
    assert completion.finish_reason == "stop"


async def test_a_short_piece_that_is_like_all_before_it_is_a_piece(llm: LLMServer) -> None:
    llm.plan(
        events(delta("ha"), delta("ha", "stop"), "[DONE]"),
        events(delta("No."), delta("No.", "stop"), "[DONE]"),
        events(delta("Hello"), delta("Hello world")),
    )
    async with openai_at(llm) as provider:
        assert (await streamed(provider)).content == "haha"
        assert (await streamed(provider)).content == "No.No."
    # All so far in each delta cannot be told from pieces in time: text is shown at once.
    draft = Draft("Nobody", "m")
    draft.add("Hello")
    assert not draft.repeats("Hello world")


async def test_a_whole_answer_of_the_older_kind_is_read(llm: LLMServer) -> None:
    llm.plan(Behaviour(body={"choices": [{"text": TEXT, "finish_reason": "stop"}]}))
    async with openai_at(llm) as provider:
        assert (await whole(provider)).content == TEXT


@pytest.mark.parametrize(
    "said",
    [
        [piece(TEXT), piece(TEXT, done=True)],
        [piece(TEXT[:9]), piece(TEXT[9:]), piece(TEXT, done=True, done_reason="stop")],
        [piece(TEXT[:9]), piece(TEXT, done=True)],
        [piece(TEXT[:9]), piece(TEXT[9:], done=True)],
        [piece(TEXT, done=True)],
    ],
    ids=["repeated", "repeated after pieces", "with the rest", "the last piece", "all in one"],
)
async def test_a_last_line_of_ollama_may_have_all_the_text(
    llm: LLMServer, said: list[object]
) -> None:
    llm.plan(lines(*said))
    async with ollama_at(llm) as provider:
        assert (await streamed(provider)).content == TEXT
