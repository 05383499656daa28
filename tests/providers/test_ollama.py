"""Tests of the Ollama provider: the details of Ollama's own protocol."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from providers.base import Completion, Message, Options, Usage
from providers.errors import (
    BadAnswer,
    ContextTooLong,
    IncompleteAnswer,
    ModelNotFound,
    ProviderError,
)
from providers.ollama import OllamaProvider
from tests.fakes.llm_server import Behaviour, LLMServer

HELLO = [Message("user", "Hello")]


def at(server: LLMServer, **config: Any) -> OllamaProvider:
    return OllamaProvider({"base_url": server.url, **config})


async def streamed(provider: OllamaProvider) -> list[str | Completion]:
    return [item async for item in provider.stream(HELLO, Options())]


def chats(server: LLMServer) -> list[dict[str, Any]]:
    return [r.body for r in server.requests if r.path in ("/api/chat", "/api/generate")]


def lines(*objects: dict[str, Any]) -> Behaviour:
    body = b"".join(orjson.dumps(line) + b"\n" for line in objects)
    return Behaviour(body=body, content_type="application/x-ndjson")


async def test_max_tokens_and_the_context_are_always_sent(server: LLMServer) -> None:
    async with at(server) as provider:
        await provider.chat(HELLO, Options())
        await provider.complete("Once", Options(max_tokens=5))
        await streamed(provider)
    chat, generate, stream = chats(server)
    options = {"temperature": 0.7, "num_predict": 1024, "num_ctx": 4096}
    messages = [{"role": "user", "content": "Hello"}]
    assert chat == {"model": "llama3.2", "messages": messages, "stream": False, "options": options}
    assert stream == {**chat, "stream": True}
    assert generate == {
        "model": "llama3.2",
        "prompt": "Once",
        "stream": False,
        "options": {**options, "num_predict": 5},
    }


async def test_the_context_is_that_of_the_model(server: LLMServer) -> None:
    async with at(server, context_tokens=100, model_context_tokens={"big": 9000}) as provider:
        await provider.chat(HELLO, Options())
        await provider.chat(HELLO, Options(model="big"))
    assert [body["options"]["num_ctx"] for body in chats(server)] == [100, 9000]


@pytest.mark.parametrize(("said", "sent"), [("10m", "10m"), ("300", 300), ("-1", -1)])
async def test_keep_alive_is_sent_in_ollamas_form(server: LLMServer, said: str, sent: Any) -> None:
    async with at(server, keep_alive=said) as provider:
        await provider.chat(HELLO, Options())
    assert chats(server)[0]["keep_alive"] == sent


async def test_loading_a_model_may_take_minutes(server: LLMServer) -> None:
    assert at(server).config.first_content_timeout == 300.0


# --- Thinking


async def test_a_model_that_thinks_is_told_not_to_and_is_looked_up_once(server: LLMServer) -> None:
    server.capabilities = ["completion", "thinking"]
    async with at(server) as provider:
        await provider.chat(HELLO, Options())
        await streamed(provider)
        await provider.complete("Once", Options())
    assert [body["think"] for body in chats(server)] == [False] * 3
    assert server.calls("/api/show") == 1


async def test_a_model_that_does_not_think_is_not_told(server: LLMServer) -> None:
    async with at(server) as provider:
        await provider.chat(HELLO, Options())
        await provider.chat(HELLO, Options())
    assert not any("think" in body for body in chats(server))
    assert server.calls("/api/show") == 1


@pytest.mark.parametrize(
    "body", ["", "null", "[]", '{"capabilities": 3}', '{"capabilities": null}']
)
@pytest.mark.parametrize("status", [200, 404, 500])
async def test_a_failed_lookup_of_the_capabilities_does_no_harm(
    server: LLMServer, body: str, status: int
) -> None:
    server.routes["/api/show"] = Behaviour(status=status, body=body)
    async with at(server) as provider:
        assert (await provider.chat(HELLO, Options())).content == "You said: Hello"
    assert "think" not in chats(server)[0]


async def test_a_reply_without_capabilities_does_no_harm(
    server: LLMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.ollama.SHOW_S", 0.01)
    server.routes["/api/show"] = Behaviour(hold=asyncio.Event())
    async with at(server) as provider:
        assert (await provider.chat(HELLO, Options())).content == "You said: Hello"


async def test_thoughts_of_a_model_are_not_shown(server: LLMServer) -> None:
    server.plan(
        lines(
            {"message": {"content": "", "thinking": "hm"}},
            {"message": {"content": "Hi"}},
            {"done": True, "done_reason": "stop"},
        )
    )
    async with at(server) as provider:
        items = await streamed(provider)
    assert items == ["Hi", Completion("Hi", "llama3.2", "stop", Usage(0, 0))]


# --- Ends


async def test_token_streams_share_a_connection(server: LLMServer) -> None:
    async with at(server) as provider:
        for _ in range(3):
            await streamed(provider)
    assert server.connections == 1


async def test_zero_counts_may_be_missing(server: LLMServer) -> None:
    server.plan(Behaviour(body={"message": {"content": "Hi"}, "done": True, "eval_count": 2}))
    async with at(server) as provider:
        completion = await provider.chat(HELLO, Options())
    assert completion == Completion("Hi", "llama3.2", "stop", Usage(0, 2))


@pytest.mark.parametrize("reason", ["load", "unload"])
async def test_an_unknown_done_reason_is_other(server: LLMServer, reason: str) -> None:
    server.plan(Behaviour(finish_reason=reason))
    async with at(server) as provider:
        assert (await provider.chat(HELLO, Options())).finish_reason == "other"


async def test_text_in_the_last_line_counts(server: LLMServer) -> None:
    server.plan(lines({"message": {"content": "H"}}, {"message": {"content": "i"}, "done": True}))
    async with at(server) as provider:
        assert (await streamed(provider))[:-1] == ["Hi"]


async def test_an_answer_that_is_not_done_is_incomplete(server: LLMServer) -> None:
    said = {"message": {"content": "a a a a"}, "done": False}
    server.plan(Behaviour(body=said), lines(said))
    async with at(server) as provider:
        for ask in (provider.chat(HELLO, Options()), streamed(provider)):
            with pytest.raises(IncompleteAnswer) as caught:
                await ask
            assert caught.value.partial == "a a a a"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("the runner has stopped", BadAnswer),
        ("model 'x' not found", ModelNotFound),
        ("prompt is longer than the context length currently available", ContextTooLong),
    ],
)
async def test_an_error_line_is_an_error(
    server: LLMServer, error: str, expected: type[ProviderError]
) -> None:
    server.plan(lines({"message": {"content": "Hi"}}, {"error": error}))
    async with at(server) as provider:
        with pytest.raises(ProviderError, match=f"^Ollama API error: {error}$") as caught:
            await streamed(provider)
    assert type(caught.value) is expected


async def test_blank_lines_and_other_line_ends_do_no_harm(server: LLMServer) -> None:
    body = '\n{"message":{"content":"a\u2028b"}}\r\n\r\n{"done":true}'
    server.plan(Behaviour(body=body, content_type="application/x-ndjson"))
    async with at(server) as provider:
        assert (await streamed(provider))[0] == "a\u2028b"


# --- Status


@pytest.mark.parametrize(
    ("models", "model", "there"),
    [
        (["llama3.2:latest"], "llama3.2", True),
        (["llama3.2"], "llama3.2:latest", True),
        (["llama3.2:1b"], "llama3.2", False),
        (["host:5000/me/x:latest"], "host:5000/me/x", True),
        ([], "llama3.2", False),
    ],
)
async def test_a_model_without_a_tag_is_the_latest(
    server: LLMServer, models: list[str], model: str, there: bool
) -> None:
    server.models = models
    async with at(server, default_model=model) as provider:
        status = await provider.status()
        assert await provider.is_available() is there
    missing = f"model {model} is not installed; run: ollama pull {model}"
    near = '; did you mean "llama3.2:1b"?' if models == ["llama3.2:1b"] else ""
    assert status.detail == ("" if there else missing + near)
    assert status.misconfigured is not there
