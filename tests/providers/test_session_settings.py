"""Refusals, settings, status and models of all providers over HTTP."""

from __future__ import annotations

import asyncio

import pytest

from providers.errors import (
    AuthenticationFailed,
    ProviderError,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)
from providers.http.provider import HttpProvider
from providers.http.session import Session
from providers.ollama import OllamaProvider
from providers.validation import ValidationError
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.dialects import (
    KEY,
    Asking,
    Dialect,
    both_ways,
    by_chat,
)


@both_ways
async def test_a_refusal_is_read_from_its_status_and_its_body(
    provider: HttpProvider, server: LLMServer, ask: Asking
) -> None:
    server.plan(Behaviour(status=429, body={"error": {"code": "insufficient_quota"}}))
    with pytest.raises(QuotaExhausted) as caught:
        await ask(provider)
    assert caught.value.status == 429
    assert str(caught.value) == f"{provider.label} API error: 429 Too Many Requests"
    assert len(server.prompts) == 1


@both_ways
async def test_the_key_never_shows(provider: HttpProvider, server: LLMServer, ask: Asking) -> None:
    server.plan(Behaviour(status=500, body={"error": f"got Bearer {KEY} and {KEY}"}))
    with pytest.raises(ProviderUnavailable) as caught:
        await ask(provider)
    assert KEY not in repr(caught.value)
    assert KEY not in repr(provider.config)


@both_ways
async def test_a_redirect_is_not_followed_so_the_key_stays_with_its_server(
    provider: HttpProvider, server: LLMServer, ask: Asking
) -> None:
    server.plan(Behaviour(status=307, headers={"Location": "/elsewhere"}))
    with pytest.raises(ProviderError):
        await ask(provider)
    assert "/elsewhere" not in [request.path for request in server.requests]


async def test_the_wait_comes_with_the_reply(provider: HttpProvider, server: LLMServer) -> None:
    server.plan(Behaviour(status=429, headers={"Retry-After": "9"}))
    with pytest.raises(RateLimited) as caught:
        await by_chat(provider)
    assert caught.value.retry_after_s == 9.0


@pytest.mark.parametrize(
    "url",
    ["", "localhost:11434", "ftp://x", "http://", "http://h:0", "http://h:99999", "http://[x"],
)
def test_a_wrong_address_is_an_error_in_the_settings(dialect: Dialect, url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        dialect.cls({"base_url": url}, name="mine")
    assert caught.value.path == "providers.mine.base_url"


def test_a_password_in_an_address_is_refused_and_not_shown(dialect: Dialect) -> None:
    with pytest.raises(ValidationError) as caught:
        dialect.cls({"base_url": "http://me:hush@host/v1"})
    assert "hush" not in str(caught.value)


def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(dialect: Dialect) -> None:
    with pytest.raises(ValidationError) as caught:
        dialect.cls({"api_key": "se\ncret"})
    assert caught.value.path == f"providers.{dialect.cls.kind}.api_key"
    assert "cret" not in str(caught.value)


async def test_a_key_with_a_line_end_behind_it_works(dialect: Dialect, server: LLMServer) -> None:
    server.api_key = KEY
    async with dialect.at(server.url + "", api_key=KEY + "\n") as provider:
        await by_chat(provider)
        assert await provider.is_available()


async def test_a_trailing_slash_in_an_address_is_tolerated(
    dialect: Dialect, server: LLMServer
) -> None:
    async with dialect.cls({"base_url": server.url + dialect.path + "/"}) as provider:
        await by_chat(provider)
    assert not any("//" in request.path for request in server.requests)


async def test_a_provider_that_can_answer_is_available(provider: HttpProvider) -> None:
    assert await provider.is_available()
    assert (await provider.status()).detail == ""


async def test_a_provider_that_cannot_be_reached_says_so(dialect: Dialect) -> None:
    async with LLMServer() as server:
        pass
    async with dialect.at(server.url) as provider:
        status = await provider.status()
    assert not status.available
    assert "cannot be reached" in status.detail


async def test_the_status_reports_a_wrong_key(dialect: Dialect, server: LLMServer) -> None:
    server.api_key = "another"
    if dialect.cls is OllamaProvider:
        server.routes["/api/version"] = Behaviour(status=401)
    async with dialect.at(server.url) as provider:
        status = await provider.status()
        with pytest.raises(AuthenticationFailed):
            await by_chat(provider)
    assert not status.available
    assert "401 Unauthorized" in status.detail


async def test_a_server_that_never_answers_still_has_a_status(
    dialect: Dialect, server: LLMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.http.provider.STATUS_S", 0.01)
    hold = asyncio.Event()
    for path in ("/api/version", "/v1/models", "/api/v1/key"):
        server.routes[path] = Behaviour(hold=hold)
    async with dialect.at(server.url) as provider:
        status = await provider.status()
    assert not status.available
    assert "did not answer within" in status.detail


async def test_the_models_are_those_of_the_server(
    provider: HttpProvider, server: LLMServer
) -> None:
    server.models = ["b", "a"]
    assert await provider.models() == ["b", "a"]


async def test_a_session_that_was_never_used_opens_nothing() -> None:
    session = Session(label="Nobody")
    await session.aclose()
    await session.aclose()
