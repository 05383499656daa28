"""The contract tests: every provider keeps the rules of `LLMProvider`."""

import importlib.util
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import pytest
import pytest_asyncio

from providers import registry
from providers.base import Completion, LLMProvider, Message, Options
from providers.errors import ProviderError
from tests.fakes.llm_server import LLMServer

HELLO = [
    Message("system", "You are a friendly bot."),
    Message("user", "Hello there"),
    Message("assistant", "Hi!"),
    Message("user", "Tell me something about the sea, please"),
]
REASONS = {"stop", "length", "content_filter", "tool_calls", "other"}
KEY = "sk-test"
PATHS = {"ollama": "", "openai": "/v1", "openrouter": "/api/v1"}

local = [
    pytest.mark.process,
    pytest.mark.skipif(
        importlib.util.find_spec("xllamacpp") is None, reason="the embedded model is not installed"
    ),
]


@pytest.fixture(scope="module", params=["scripted", *PATHS, pytest.param("local", marks=local)])
def kind(request: pytest.FixtureRequest) -> str:
    return cast("str", request.param)


def built(kind: str, url: str, **config: Any) -> LLMProvider:
    """Return a provider whose server, if it has one, is at `url`."""
    if kind in PATHS:
        config["base_url"] = url + PATHS[kind]
    if kind in ("openai", "openrouter"):
        config["api_key"] = KEY
    return registry.build(kind, config)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(kind: str) -> AsyncIterator[LLMServer]:
    async with LLMServer() as server:
        server.api_key = KEY if kind in ("openai", "openrouter") else None
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider(kind: str, server: LLMServer) -> AsyncIterator[LLMProvider]:
    """Shared by all tests, so each test also shows that the ones before left it working."""
    async with built(kind, server.url, max_tokens=24) as provider:
        yield provider
        await provider.aclose()  # the `async with` closes it again, which is allowed


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def streamed(
    provider: LLMProvider, options: Options | None = None
) -> tuple[list[str], Completion]:
    async with aclosing(cast("Any", provider.stream(HELLO, options or Options()))) as items:
        got = [item async for item in items]
    return got[:-1], got[-1]


async def test_chat_answers_with_text_a_model_and_a_reason(provider: LLMProvider) -> None:
    completion = await provider.chat(HELLO, Options())
    assert completion.content.strip()
    assert completion.model
    assert completion.finish_reason in REASONS


async def test_an_answer_says_what_it_cost(provider: LLMProvider) -> None:
    usage = (await provider.chat(HELLO, Options())).usage
    assert usage is not None
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


async def test_a_token_stream_is_pieces_and_then_the_whole(provider: LLMProvider) -> None:
    pieces, completion = await streamed(provider)
    assert pieces
    assert all(isinstance(piece, str) and piece for piece in pieces)
    assert isinstance(completion, Completion)
    assert completion.content == "".join(pieces)
    assert completion.model
    assert completion.finish_reason in REASONS


async def test_the_token_cap_of_a_request_reaches_the_model(
    provider: LLMProvider, kind: str, server: LLMServer
) -> None:
    _, streamed_whole = await streamed(provider, Options(max_tokens=3))
    for completion in (await provider.chat(HELLO, Options(max_tokens=3)), streamed_whole):
        if kind in PATHS:
            # The fake server has no model that could stop: check the request instead.
            body = server.requests[-1].body
            assert 3 in {**body, **body.get("options", {})}.values()
        else:
            assert completion.finish_reason == "length"
            assert completion.usage is not None
            assert completion.usage.completion_tokens <= 3


async def test_a_raw_completion_answers(provider: LLMProvider) -> None:
    completion = await provider.complete("The sea is", Options())
    assert completion.content.strip()
    assert completion.finish_reason in REASONS


async def test_a_provider_that_answers_is_available(provider: LLMProvider) -> None:
    assert await provider.is_available() is True
    assert (await provider.status()).available


async def test_the_models_are_listed_by_name(provider: LLMProvider) -> None:
    models = await provider.models()
    assert models
    assert all(isinstance(model, str) and model for model in models)


@pytest.mark.parametrize("read", [0, 1, 2])
async def test_a_token_stream_can_be_closed_at_any_time(provider: LLMProvider, read: int) -> None:
    async with aclosing(cast("Any", provider.stream(HELLO, Options()))) as items:
        for _ in range(read):
            assert await anext(items)
    assert (await provider.chat(HELLO, Options())).content.strip()


async def test_the_same_provider_answers_several_at_once(provider: LLMProvider) -> None:
    opened = [cast("Any", provider.stream(HELLO, Options())) for _ in range(3)]
    for items in opened:
        assert isinstance(await anext(items), str)
    for items in opened:
        await items.aclose()


async def test_it_has_a_name_a_label_and_a_budget(provider: LLMProvider, kind: str) -> None:
    assert (provider.name, provider.kind) == (kind, kind)
    assert provider.label
    assert provider.context_tokens() > 0


async def test_a_failure_is_a_provider_error(kind: str) -> None:
    async with LLMServer() as server:
        gone = server.url
    failing = {
        "scripted": {"fail": "provider_unavailable"},
        "local": {"model_path": "/no/such/model.gguf"},
    }
    config = failing.get(kind, {})
    async with aclosing(built(kind, gone, **config)) as broken:
        with pytest.raises(ProviderError) as caught:
            await broken.chat(HELLO, Options())
        assert caught.value.code == "provider_unavailable"
        with pytest.raises(ProviderError):
            await streamed(broken)
        with pytest.raises(ProviderError):
            await broken.complete("The sea is", Options())
        assert await broken.is_available() is False
        assert (await broken.status()).detail


async def test_a_provider_can_be_closed_twice_and_without_use(kind: str) -> None:
    unused = built(kind, "http://127.0.0.1:1")
    await unused.aclose()
    await unused.aclose()
