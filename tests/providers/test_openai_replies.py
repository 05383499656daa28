"""Tests of the OpenAI provider: the replies of servers that vary its protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from providers.base import Completion, Options, Usage
from providers.errors import (
    BadAnswer,
    ContextTooLong,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.openai_replies import HELLO, at, delta, sse, streamed, whole


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("plain", "plain"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "thinking", "thinking": [{"text": "hm"}]}, {"type": "text", "text": "a"}], "a"),
        ([{"type": "text", "text": None}, None, "x", {"text": "untyped"}], "untyped"),
    ],
)
async def test_content_may_be_text_or_parts(server: LLMServer, content: Any, text: str) -> None:
    server.plan(whole(content), sse(delta(content), delta(None, "stop"), "[DONE]"))
    async with at(server) as provider:
        assert (await provider.chat(HELLO, Options())).content == text
        assert (await streamed(provider)).content == text


async def test_separate_reasoning_is_never_shown(server: LLMServer) -> None:
    server.plan(
        whole("Hi", reasoning_content="hm", reasoning="hm"),
        sse(
            {"choices": [{"delta": {"content": None, "reasoning_content": "hm"}}]},
            {"choices": [{"delta": {"reasoning": "hm"}}]},
            delta("Hi"),
            delta("", "stop"),
        ),
        whole(None, reasoning_content="hm"),
    )
    async with at(server) as provider:
        assert (await provider.chat(HELLO, Options())).content == "Hi"
        assert (await streamed(provider)).content == "Hi"
        with pytest.raises(BadAnswer, match="empty answer"):
            await provider.chat(HELLO, Options())


WHOLE_STREAMS: dict[str, Sequence[dict[str, Any] | str]] = {
    "a finish reason and the end": [delta("Hi", "stop"), "[DONE]"],
    "a finish reason alone": [delta("Hi"), delta(None, "stop")],
    "the end alone": [delta("Hi"), "[DONE]"],
    "the end among blanks": [delta("Hi"), " [DONE] "],
    "an empty finish reason": [delta("Hi", ""), "[DONE]"],
    "no choices first": [{"choices": []}, delta("Hi"), "[DONE]"],
    "choices that are null": [{"choices": None}, {}, delta("Hi"), "[DONE]"],
    "an error that is null": [delta("Hi", error=None), "[DONE]"],
    "a role first": [{"choices": [{"delta": {"role": "assistant"}}]}, delta("Hi"), "[DONE]"],
    "a delta that is null": [{"choices": [{"delta": None}]}, delta("Hi"), "[DONE]"],
    "chunks that are no objects": ["null", "[]", delta("Hi"), "[DONE]"],
    "something after the end": [delta("Hi"), "[DONE]", "garbage"],
}


@pytest.mark.parametrize("name", WHOLE_STREAMS)
async def test_a_stream_is_whole_with(server: LLMServer, name: str) -> None:
    server.plan(sse(*WHOLE_STREAMS[name]))
    async with at(server) as provider:
        completion = await streamed(provider)
    assert completion == Completion("Hi", "gpt-4", "stop", None)


async def test_usage_is_read_from_any_chunk(server: LLMServer) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    server.plan(
        sse(delta("Hi", "stop", usage=usage), "[DONE]"),
        sse(delta("Hi", "stop", usage=None), {"choices": [], "usage": usage}, "[DONE]"),
    )
    async with at(server) as provider:
        assert (await streamed(provider)).usage == Usage(3, 4)
        assert (await streamed(provider)).usage == Usage(3, 4)


async def test_the_model_is_the_one_that_answered(server: LLMServer) -> None:
    server.plan(sse(delta("Hi", "stop", model="gpt-4-0613"), "[DONE]"))
    async with at(server) as provider:
        assert (await streamed(provider)).model == "gpt-4-0613"


async def test_a_whole_answer_instead_of_a_stream_is_accepted(server: LLMServer) -> None:
    server.plan(whole("Hi there", None))
    async with at(server) as provider:
        assert (await streamed(provider)).content == "Hi there"


async def test_comments_and_odd_line_ends_do_no_harm(server: LLMServer) -> None:
    chunk = orjson.dumps(delta("Hi", "stop")).decode()
    body = f"\ufeff: PROCESSING\r\n\r\ndata:{chunk}\r\r: PROCESSING\n\ndata: [DONE]"
    server.plan(Behaviour(body=body, content_type="text/event-stream"))
    async with at(server) as provider:
        assert (await streamed(provider)).content == "Hi"


async def test_a_local_server_that_keeps_its_connections_gets_the_next_stream_on_the_same_one(
    server: LLMServer,
) -> None:
    async with at(server) as provider:
        connections = []
        for _ in range(4):
            await streamed(provider)
            connections.append(server.connections)
    # Only its first answer shows it.
    assert connections == [1, 2, 2, 2]
    assert server.disconnects == 0


async def test_a_whole_answer_also_shows_whether_connections_are_kept(server: LLMServer) -> None:
    async with at(server) as provider:
        await provider.chat(HELLO, Options())
        for _ in range(2):
            await streamed(provider)
    assert server.connections == 1


@pytest.mark.parametrize(
    "headers", [{"Keep-Alive": "timeout=5, max=100"}, {"Server": "llama.cpp"}], ids=str
)
async def test_a_server_that_may_close_without_notice_gets_a_new_connection_for_each_token_stream(
    server: LLMServer, headers: dict[str, str]
) -> None:
    told = replace(sse(delta("Hi", "stop"), "[DONE]"), headers=headers)
    server.plan(*[told] * 3)
    async with at(server, max_concurrency=4) as provider:  # set: it is not asked
        for _ in range(3):
            await streamed(provider)
    assert server.connections == 3


async def test_a_server_that_begins_to_close_without_notice_is_detected(server: LLMServer) -> None:
    told = replace(sse(delta("Hi", "stop"), "[DONE]"), headers={"Server": "llama.cpp"})
    async with at(server, max_concurrency=4) as provider:  # set: it is not asked
        await provider.chat(HELLO, Options())
        server.plan(told, told, told)
        for _ in range(3):
            await streamed(provider)
    assert server.connections == 3


async def test_chunks_that_arrive_together_are_one_piece(server: LLMServer) -> None:
    server.plan(sse(delta("Hel"), delta("lo"), delta(" there", "stop"), "[DONE]"))
    async with at(server) as provider:
        items = [item async for item in provider.stream(HELLO, Options())]
    assert items[:-1] == ["Hello there"]


@pytest.mark.parametrize("trouble", ['{"error": "it broke"}', '{"choices": ['], ids=str)
async def test_text_that_arrives_with_an_error_is_yielded_before_it(
    server: LLMServer, trouble: str
) -> None:
    server.plan(sse(delta("Hel"), delta("lo"), trouble, delta("never"), "[DONE]"))
    async with at(server) as provider:
        items = aiter(provider.stream(HELLO, Options()))
        assert await anext(items) == "Hello"
        with pytest.raises(BadAnswer):
            await anext(items)


# --- Errors within a reply of status 200

ERRORS: dict[str, tuple[Any, type[ProviderError]]] = {
    "text": ("it broke", BadAnswer),
    "an object": ({"message": "it broke", "code": "server_error"}, ProviderUnavailable),
    "a number": ({"message": "slow down", "code": 429}, RateLimited),
    "a word": ({"message": "long", "code": "context_length_exceeded"}, ContextTooLong),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_in_a_good_reply_is_an_error(server: LLMServer, name: str) -> None:
    said, error = ERRORS[name]
    server.plan(
        Behaviour(body={"error": said}),
        Behaviour(body={"error": said}),
        sse({"error": said}),
        sse(delta("Hi"), {"error": said, "choices": [{"finish_reason": "error"}]}),
        sse({"choices": [{"error": said, "finish_reason": "error"}]}),
    )
    async with at(server) as provider:
        with pytest.raises(error, match="OpenAI API error"):
            await provider.chat(HELLO, Options())
        for _ in range(4):
            with pytest.raises(error, match="OpenAI API error"):
                await streamed(provider)


async def test_an_event_of_kind_error_is_an_error(server: LLMServer) -> None:
    body = 'event: error\ndata: {"message": "it broke", "code": 502}\n\n'
    server.plan(Behaviour(body=body, content_type="text/event-stream"))
    async with at(server) as provider:
        with pytest.raises(ProviderUnavailable, match="502 Bad Gateway: it broke"):
            await streamed(provider)


async def test_a_finish_reason_that_is_an_error_is_an_error(server: LLMServer) -> None:
    server.plan(whole("half", "error"))
    async with at(server) as provider:
        with pytest.raises(BadAnswer, match="reported an error"):
            await provider.chat(HELLO, Options())


async def test_a_garbled_chunk_is_an_error(server: LLMServer) -> None:
    server.plan(sse(delta("Hi"), '{"choices": [', "[DONE]"))
    async with at(server) as provider:
        with pytest.raises(BadAnswer, match="cannot be read"):
            await streamed(provider)
