"""Tests of how long an idle connection to a provider is used again: as long as the server says."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from providers.http.keep_alive import LONGEST_S, keep_alive_s
from providers.http.provider import HttpProvider
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.chain_harness import MadeUpTime, Way, chained, every_way
from tests.support.dialects import Dialect, by_chat

Pause = Callable[[float], None]


@pytest.fixture
def pause(monkeypatch: pytest.MonkeyPatch) -> Pause:
    """Let time pass for the HTTP client's idle connections; nobody waits."""
    passed_s = 0.0

    def pass_(seconds: float) -> None:
        nonlocal passed_s
        passed_s += seconds

    monkeypatch.setattr("aiohttp.connector.monotonic", lambda: time.monotonic() + passed_s)
    return pass_


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Server": "nginx/1.25.3"}, None),
        ({"Server": "Caddy", "Keep-Alive": "max=1000"}, None),
        ({"Keep-Alive": "timeout=5, max=100"}, 4),
        ({"Keep-Alive": "max=5, Timeout = 30"}, 29),
        ({"Keep-Alive": "timeout=1"}, 0),
        ({"Keep-Alive": "timeout=0"}, 0),
        ({"Keep-Alive": "timeout=86400"}, LONGEST_S),
        ({"Keep-Alive": "timeout=" + "9" * 5000}, LONGEST_S),
        ({"Keep-Alive": "timeout=soon"}, None),
        ({"Server": "uvicorn"}, 4),
        ({"Server": "Uvicorn/0.30 (h11)"}, 4),
        ({"Server": "gunicorn/22.0"}, 1),
        ({"Server": "llama.cpp"}, 4),
        ({"Server": "uvicorn", "Keep-Alive": "timeout=75"}, LONGEST_S),
    ],
)
def test_what_the_server_says_comes_before_what_is_known_of_its_kind(
    headers: dict[str, str], seconds: int | None
) -> None:
    assert keep_alive_s(headers.get("Keep-Alive"), headers.get("Server")) == seconds


async def opened(
    server: LLMServer, provider: HttpProvider, pause: Pause, *pauses_s: float
) -> list[int]:
    """Return how many connections each of some calls opened, one behind each pause."""
    counted = []
    for pause_s in pauses_s:
        pause(pause_s)
        before = server.connections
        await by_chat(provider)
        counted.append(server.connections - before)
    return counted


@pytest.mark.parametrize(
    "headers", [{}, {"Server": "nginx"}, {"Keep-Alive": "timeout=120"}], ids=str
)
async def test_a_call_after_a_pause_uses_the_connection_that_the_server_keeps(
    dialect: Dialect, server: LLMServer, pause: Pause, headers: dict[str, str]
) -> None:
    server.headers = headers
    async with dialect.at(server.url) as provider:
        assert await opened(server, provider, pause, 0, 5, 50, 60) == [1, 0, 0, 1]
    assert server.disconnects == 0


@pytest.mark.parametrize("headers", [{"Keep-Alive": "timeout=5"}, {"Server": "uvicorn"}], ids=str)
async def test_a_connection_that_the_server_is_about_to_close_is_not_used(
    dialect: Dialect, server: LLMServer, pause: Pause, headers: dict[str, str]
) -> None:
    server.headers = headers
    async with dialect.at(server.url) as provider:
        # Its first answers show it; then there is a connection for calls within the shorter limit.
        await opened(server, provider, pause, 0, 0)
        assert await opened(server, provider, pause, 3, 4.5, 3) == [0, 1, 0]


async def test_a_server_that_keeps_nothing_gets_a_connection_for_each_call(
    dialect: Dialect, server: LLMServer, pause: Pause
) -> None:
    server.headers = {"Keep-Alive": "timeout=1"}
    async with dialect.at(server.url) as provider:
        await by_chat(provider)
        assert await opened(server, provider, pause, 0, 0) == [1, 1]


@every_way
async def test_a_connection_that_the_server_closes_under_a_call_after_a_pause_costs_no_answer(
    way: Way, dialect: Dialect, server: LLMServer, pause: Pause
) -> None:
    async with dialect.at(server.url) as provider:
        chain = chained(MadeUpTime(), provider)
        await way(chain)
        pause(30)
        server.plan(Behaviour(drop=True))
        _, answered = await way(chain)
    assert answered.completion.content == "You said: hello"
    assert answered.attempts == 2
