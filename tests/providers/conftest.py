"""Fixtures of the providers over HTTP: each test that asks for one runs over all of them."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import pytest

from providers.http.provider import HttpProvider
from providers.ollama import OllamaProvider
from providers.openai import OpenAIProvider
from tests.fakes.llm_server import LLMServer
from tests.support.dialects import DIALECTS, Dialect
from tests.support.tls_servers import Authority
from tests.support.ways_to_a_provider import HOST

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.cls.kind)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    found: Dialect = request.param
    return found


@pytest.fixture
async def server() -> AsyncIterator[LLMServer]:
    async with LLMServer() as server:
        yield server


@pytest.fixture
async def provider(dialect: Dialect, server: LLMServer) -> AsyncIterator[HttpProvider]:
    async with dialect.at(server.url) as provider:
        yield provider


@pytest.fixture(params=[OllamaProvider, OpenAIProvider], ids=lambda cls: cls.kind)
def kind(request: pytest.FixtureRequest) -> type[HttpProvider]:
    found: type[HttpProvider] = request.param
    return found


@pytest.fixture(scope="module")
def tls(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.certificate("server", "IP:127.0.0.1", f"DNS:{HOST}"))
    return context
