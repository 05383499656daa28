"""Tests of how many calls a provider gets at once if the configuration does not say."""

from __future__ import annotations

import asyncio

import pytest

from providers import registry
from providers.base import Message, Options
from providers.openai import OWN_SERVER_CONCURRENCY, OpenAIProvider
from tests.fakes.http_proxy import HttpProxy
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.chain_harness import MadeUpTime, chained

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
