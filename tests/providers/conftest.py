"""Fixtures of the providers over HTTP: each test that asks for one runs over all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from providers.http.provider import HttpProvider
from tests.fakes.llm_server import LLMServer
from tests.support.dialects import DIALECTS, Dialect


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
