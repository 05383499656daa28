"""Tests of the OpenRouter provider: its differences from OpenAI."""

from __future__ import annotations

from typing import Any

import pytest

from providers.base import Message, Options
from providers.errors import (
    AuthenticationFailed,
    ContentWithheld,
    ContextTooLong,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)
from providers.openrouter import OpenRouterProvider
from tests.fakes.llm_server import Behaviour, LLMServer

HELLO = [Message("user", "Hello")]


def at(server: LLMServer, **config: Any) -> OpenRouterProvider:
    return OpenRouterProvider({"base_url": f"{server.url}/api/v1", **config})


async def test_the_origin_of_requests_goes_into_headers(server: LLMServer) -> None:
    async with at(server, site_url="https://example.org", api_key="or-12345678") as provider:
        await provider.chat(HELLO, Options())
    (request,) = server.requests
    assert request.path == "/api/v1/chat/completions"
    assert request.body["model"] == "anthropic/claude-3-sonnet"
    assert request.headers["authorization"] == "Bearer or-12345678"
    assert request.headers["http-referer"] == "https://example.org"
    assert request.headers["x-openrouter-title"] == "Rosey-Robot"
    assert request.headers["x-title"] == "Rosey-Robot"


async def test_an_empty_origin_is_not_sent(server: LLMServer) -> None:
    async with at(server, site_name="") as provider:
        await provider.chat(HELLO, Options())
    sent = server.requests[0].headers
    assert not {"http-referer", "x-openrouter-title", "x-title"} & set(sent)


async def test_openrouter_without_a_key_is_not_called() -> None:
    async with OpenRouterProvider() as provider:
        with pytest.raises(AuthenticationFailed, match="OPENROUTER_API_KEY"):
            await provider.chat(HELLO, Options())
        assert not await provider.is_available()


async def test_the_status_asks_for_the_key_since_the_models_are_public(server: LLMServer) -> None:
    async with at(server) as provider:
        assert await provider.is_available()
    assert [request.path for request in server.requests] == ["/api/v1/key"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": 502, "message": "down"}, ProviderUnavailable),
        ({"code": 402, "message": "no credits"}, QuotaExhausted),
        ({"code": 429, "message": "slow"}, RateLimited),
        ({"code": 400, "metadata": {"error_type": "context_length_exceeded"}}, ContextTooLong),
        ({"code": 502, "metadata": {"error_type": "timeout"}}, ProviderTimeout),
        ({"code": 403, "metadata": {"error_type": "content_policy_violation"}}, ContentWithheld),
        ({"http_status": 503, "error_type": "provider_overloaded"}, ProviderUnavailable),
        ({"code": "server_error", "message": "half-way"}, ProviderUnavailable),
    ],
)
async def test_an_error_in_a_good_reply_is_mapped_by_its_kind(
    server: LLMServer, error: dict[str, Any], expected: type[ProviderError]
) -> None:
    server.plan(Behaviour(body={"error": error}))
    async with at(server) as provider:
        with pytest.raises(ProviderError, match=r"^OpenRouter API error") as caught:
            await provider.chat(HELLO, Options())
    assert type(caught.value) is expected
    assert caught.value.status in (error.get("code"), error.get("http_status"), None)


async def test_the_error_has_the_time_to_wait(server: LLMServer) -> None:
    error = {"code": 429, "message": "slow", "availability": {"retry_after": 4}}
    server.plan(Behaviour(body={"error": error}))
    async with at(server) as provider:
        with pytest.raises(RateLimited) as caught:
            await provider.chat(HELLO, Options())
    assert caught.value.retry_after_s == 4.0
