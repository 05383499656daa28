"""Tests of how many calls a provider gets at once if the configuration does not say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from providers import registry
from providers.base import Message, Options
from providers.openai import OWN_SERVER_CONCURRENCY, OpenAIProvider
from tests.fakes.http_proxy import HttpProxy
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.chain_harness import MadeUpTime, Way, chained, every_way
from tests.support.patience import WAIT_S

CHANNELS = 100


def limit(kind: str, **table: object) -> int:
    return registry.build("mine", {"kind": kind, **table}).config.max_concurrency


def test_each_kind_has_a_default_of_its_own() -> None:
    assert [limit(kind) for kind in ("openai", "openrouter", "ollama", "local", "scripted")] == [
        *(512, 512),
        *(4, 2),
        10_000,
    ]


def test_the_embedded_model_gets_as_many_calls_as_it_computes_at_once() -> None:
    assert limit("local", parallel=6) == 6
    assert limit("local", parallel=6, max_concurrency=3) == 3


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000/v1",
        "http://127.0.0.1:8000/v1",
        "https://[::1]:8000/v1",
        "http://192.168.1.7:8000/v1",
        "https://10.1.2.3/v1",
        "http://vllm:8000/v1",
        "http://host.docker.internal:8000/v1",
        "http://vllm.models.svc:8000/v1",
        "http://gpu.local/v1",
    ],
)
def test_a_server_of_ones_own_with_openais_protocol_gets_fewer_calls(url: str) -> None:
    assert limit("openai", base_url=url) == OWN_SERVER_CONCURRENCY == 64
    assert limit("openai", base_url=url, max_concurrency=300) == 300


@pytest.mark.parametrize(
    "url",
    [
        "https://api.groq.com/openai/v1",
        "https://my-resource.openai.azure.com/openai/deployments/mine",
        "https://8.8.8.8/v1",
        "http://llm.example/v1",
    ],
)
def test_a_service_on_the_internet_gets_hundreds_of_calls(url: str) -> None:
    assert limit("openai", base_url=url) == 512


async def test_a_hundred_channels_are_answered_in_one_wave_without_any_setting() -> None:
    answer = asyncio.Event()
    async with LLMServer() as server, HttpProxy({"llm.example": server.port}) as proxy:
        server.plan(*[Behaviour(hold=answer)] * CHANNELS)
        config = {"base_url": "http://llm.example/v1", "proxy": proxy.url}
        async with OpenAIProvider(config) as provider:
            chain = chained(MadeUpTime(), provider)
            asked = [
                asyncio.create_task(
                    chain.answer(
                        lambda each, options: each.chat([Message("user", "Hi")], options),
                        Options(),
                        channel=f"#{number}",
                    )
                )
                for number in range(CHANNELS)
            ]
            await server.wait_for_requests(CHANNELS)  # no answer has been given yet
            answer.set()
            answers = await asyncio.gather(*asked)
    assert {each.completion.content for each in answers} == {"You said: Hi"}


@asynccontextmanager
async def llama_cpp(props: Behaviour, **config: Any) -> AsyncIterator[tuple[LLMServer, Any]]:
    """Yield a server that says it is llama.cpp, and its provider."""
    async with LLMServer() as server:
        server.headers["Server"] = "llama.cpp"
        server.routes["/props"] = props
        async with OpenAIProvider({"base_url": f"{server.url}/v1", **config}) as provider:
            yield server, provider


async def asked(server: LLMServer) -> None:
    """Wait until the server has been asked for its slots, and has answered."""
    async with asyncio.timeout(WAIT_S):
        while not server.calls("/props") or asking():  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.01)


def asking() -> bool:
    return any(task.get_name() == "slots of llama.cpp" for task in asyncio.all_tasks())


@every_way
async def test_llama_cpp_gets_as_many_calls_as_it_says_after_its_first_answer(way: Way) -> None:
    answer = asyncio.Event()
    async with llama_cpp(Behaviour(body={"total_slots": 3})) as (server, provider):
        chain = chained(MadeUpTime(), provider)
        assert chain.statistics()["openai"].slots.limit == 64
        await way(chain)
        await asked(server)
        server.plan(*[Behaviour(hold=answer)] * 5)
        calls = [asyncio.create_task(way(chain)) for _ in range(5)]
        await server.wait_for_requests(1 + 3)
        slots = chain.statistics()["openai"].slots
        assert (slots.limit, slots.running, slots.waiting) == (3, 3, 2)
        answer.set()
        await asyncio.gather(*calls)
        assert server.calls("/props") == 1  # it is asked once


@pytest.mark.parametrize(
    "props",
    [
        Behaviour(status=401),
        Behaviour(body={"total_slots": "many"}),
        Behaviour(body={"total_slots": 0}),
        Behaviour(body=b"[]"),
        Behaviour(body=b"not JSON"),
    ],
)
async def test_the_default_stays_if_llama_cpp_does_not_say(props: Behaviour) -> None:
    async with llama_cpp(props) as (server, provider):
        await provider.chat([Message("user", "Hi")], Options())
        await asked(server)
        assert provider.max_concurrency == 64


async def test_a_provider_that_closes_stops_asking() -> None:
    async with llama_cpp(Behaviour(hold=asyncio.Event())) as (_, provider):
        await provider.chat([Message("user", "Hi")], Options())
        assert asking()
        await provider.aclose()
        assert not asking()


async def test_what_the_settings_say_comes_before_what_the_server_says() -> None:
    props = Behaviour(body={"total_slots": 3})
    async with llama_cpp(props, max_concurrency=8) as (server, provider):
        await provider.chat([Message("user", "Hi")], Options())
        assert provider.max_concurrency == 8
    assert server.calls("/props") == 0


async def test_no_other_server_is_asked() -> None:
    async with llama_cpp(Behaviour(body={"total_slots": 3})) as (server, provider):
        server.headers["Server"] = "nginx"
        await provider.chat([Message("user", "Hi")], Options())
        assert provider.max_concurrency == 64
    assert server.calls("/props") == 0
