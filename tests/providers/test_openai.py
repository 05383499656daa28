"""Tests of the OpenAI provider: details of the protocol and of the servers that vary it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from providers.base import Completion, LLMProvider, Message, Options, Usage
from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ContextTooLong,
    ModelNotFound,
    ParameterRefused,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    WrongAddress,
)
from providers.openai import OpenAIProvider
from providers.validation import ValidationError
from tests.fakes.llm_server import Behaviour, LLMServer

HELLO = [Message("user", "Hello")]


@pytest.fixture
async def server() -> AsyncIterator[LLMServer]:
    async with LLMServer() as server:
        yield server


def at(server: LLMServer, name: str = "openai", **config: Any) -> OpenAIProvider:
    return OpenAIProvider({"base_url": f"{server.url}/v1", **config}, name=name)


async def streamed(provider: LLMProvider, options: Options | None = None) -> Completion:
    items = [item async for item in provider.stream(HELLO, options or Options())]
    completion = items[-1]
    assert isinstance(completion, Completion)
    assert items[:-1] == [item for item in items if isinstance(item, str) and item]
    assert "".join(map(str, items[:-1])) == completion.content
    return completion


def sse(*chunks: dict[str, Any] | str) -> Behaviour:
    """Return a token stream of these chunks."""
    data = [chunk if isinstance(chunk, str) else orjson.dumps(chunk).decode() for chunk in chunks]
    body = "".join(f"data: {text}\n\n" for text in data)
    return Behaviour(body=body, content_type="text/event-stream; charset=utf-8")


def delta(content: Any, reason: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": reason}],
        **more,
    }


def whole(content: Any, reason: Any = "stop", **more: Any) -> Behaviour:
    message = {"role": "assistant", "content": content, **more}
    return Behaviour(body={"choices": [{"message": message, "finish_reason": reason}]})


async def test_a_request_follows_the_protocol(server: LLMServer) -> None:
    async with at(server, api_key="sk-12345678", organization="org-1") as provider:
        await provider.chat(HELLO, Options())
        await streamed(provider, Options(max_tokens=9))
    first, second = server.requests
    messages = [{"role": "user", "content": "Hello"}]
    assert first.path == "/v1/chat/completions"
    assert first.headers["authorization"] == "Bearer sk-12345678"
    assert first.headers["openai-organization"] == "org-1"
    assert first.headers["content-type"] == "application/json"
    assert first.body == {
        "model": "gpt-4",
        "messages": messages,
        "stream": False,
        "temperature": 0.7,
    }
    assert second.body == {
        "model": "gpt-4",
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.7,
        "max_tokens": 9,
    }


async def test_another_server_needs_no_key(server: LLMServer) -> None:
    async with at(server, name="vllm") as provider:
        assert provider.label == "vllm"
        await provider.chat(HELLO, Options())
    assert "authorization" not in server.requests[0].headers


async def test_openai_without_a_key_is_not_called() -> None:
    async with OpenAIProvider() as provider:
        with pytest.raises(AuthenticationFailed, match=r"providers\.openai\.api_key") as caught:
            await provider.chat(HELLO, Options())
        status = await provider.status()
    assert "OPENAI_API_KEY" in str(caught.value)
    assert not status.available
    assert status.detail == str(caught.value)


def test_openai_by_another_name_is_still_called_openai() -> None:
    assert OpenAIProvider(name="work").label == "OpenAI"
    assert OpenAIProvider({"base_url": "https://api.openai.com.example.org"}, name="w").label == "w"


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match="did you mean"):
        OpenAIProvider({"organisation": "x"})


# --- Parameters that a model refuses


def refusing(parameter: str) -> Behaviour:
    return Behaviour(
        status=400,
        body={
            "error": {
                "message": f"Unsupported parameter: '{parameter}' is not supported here.",
                "param": parameter,
                "code": "unsupported_parameter",
            }
        },
    )


async def test_a_refused_token_limit_is_sent_by_its_other_name_from_then_on(
    server: LLMServer,
) -> None:
    server.plan(refusing("max_tokens"))
    async with at(server) as provider:
        await provider.chat(HELLO, Options(max_tokens=5))
        await streamed(provider, Options(max_tokens=6))
        await provider.chat(HELLO, Options(max_tokens=7, model="another"))
    caps = [(b.get("max_tokens"), b.get("max_completion_tokens")) for b in bodies(server)]
    assert caps == [(5, None), (None, 5), (None, 6), (7, None)]


async def test_a_refused_temperature_is_left_out_from_then_on(server: LLMServer) -> None:
    server.plan(refusing("temperature"))
    async with at(server) as provider:
        await streamed(provider)
        await provider.chat(HELLO, Options())
    assert ["temperature" in body for body in bodies(server)] == [True, False, False]


async def test_a_model_may_refuse_both(server: LLMServer) -> None:
    server.plan(refusing("max_tokens"), refusing("temperature"))
    async with at(server, max_tokens=5) as provider:
        await provider.chat(HELLO, Options())
    assert server.prompts == [[{"role": "user", "content": "Hello"}]] * 3
    assert bodies(server)[-1]["max_completion_tokens"] == 5
    assert "temperature" not in bodies(server)[-1]


async def test_a_request_is_repeated_once_for_each_parameter(server: LLMServer) -> None:
    server.plan(*[refusing("max_tokens or max_completion_tokens or temperature")] * 9)
    async with at(server, max_tokens=5) as provider:
        with pytest.raises(ParameterRefused, match="Unsupported parameter"):
            await provider.chat(HELLO, Options())
        assert len(server.prompts) == 4


async def test_a_change_that_did_not_help_is_not_remembered(server: LLMServer) -> None:
    server.plan(refusing("temperature"), refusing("something else"))
    async with at(server) as provider:
        with pytest.raises(ParameterRefused):
            await provider.chat(HELLO, Options())
        await provider.chat(HELLO, Options())
    assert ["temperature" in body for body in bodies(server)] == [True, False, True]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_a_field_that_was_set_is_not_sent_by_its_other_name(
    server: LLMServer, field: str
) -> None:
    server.plan(refusing(field))
    async with at(server, max_tokens_field=field, max_tokens=5) as provider:
        await provider.chat(HELLO, Options())
    first, second = bodies(server)
    assert first[field] == 5
    assert second == {key: value for key, value in first.items() if key != field}


def bodies(server: LLMServer) -> list[dict[str, Any]]:
    return [request.body for request in server.requests]


# --- Answers of many shapes


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


# --- Status


async def test_a_server_without_a_list_of_models_is_available(server: LLMServer) -> None:
    server.routes["/v1/models"] = Behaviour(status=404, body="no such page")
    async with at(server) as provider:
        assert await provider.is_available()
        assert await provider.models() == []


async def test_a_wrong_key_says_where_to_set_it(server: LLMServer) -> None:
    server.api_key = "another"
    async with at(server, name="vllm", api_key="wrong-key") as provider:
        status = await provider.status()
    assert status.detail == (
        "vllm API error: 401 Unauthorized: Incorrect API key; check providers.vllm.api_key"
    )


async def test_a_server_that_loads_its_model_is_starting(server: LLMServer) -> None:
    error = {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}
    server.routes["/v1/models"] = Behaviour(status=503, body=error)
    async with at(server) as provider:
        status = await provider.status()
    assert not status.available
    assert "starting" in status.detail


# --- Addresses and models that are not there


async def test_a_404_without_a_model_is_about_the_address(server: LLMServer) -> None:
    server.routes["/chat/completions"] = Behaviour(status=404, body="404 page not found")
    async with OpenAIProvider({"base_url": server.url}) as provider:
        with pytest.raises(WrongAddress, match=r"did you forget /v1\?"):
            await provider.chat(HELLO, Options())


async def test_a_404_that_names_the_model_is_about_the_model(server: LLMServer) -> None:
    server.plan(*[Behaviour(status=404, body={"detail": "there is no tiny-one here"})] * 2)
    async with at(server) as provider:
        with pytest.raises(ModelNotFound):
            await provider.chat(HELLO, Options(model="tiny-one"))
        with pytest.raises(WrongAddress):
            await provider.chat(HELLO, Options(model="another"))


async def test_an_unknown_address_with_status_200_is_one(server: LLMServer) -> None:
    said = {
        "error": "Unexpected endpoint or method. (POST /chat/completions). Returning 200 anyway"
    }
    server.plan(*[Behaviour(body=said)] * 2)
    async with at(server) as provider:
        with pytest.raises(WrongAddress, match=r"did you forget /v1\?"):
            await provider.chat(HELLO, Options())
        with pytest.raises(WrongAddress):
            await streamed(provider)
