"""Tests of the OpenAI provider: what it sends, and what it says of servers that cannot be used."""

from __future__ import annotations

from typing import Any

import pytest

from providers.base import Options
from providers.errors import (
    AuthenticationFailed,
    ModelNotFound,
    ParameterRefused,
    WrongAddress,
)
from providers.openai import OpenAIProvider
from providers.validation import ValidationError
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.openai_replies import HELLO, at, streamed


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
