"""A call of a provider, without a store; each function imports only its own library."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from tests.bench.others import PROMPT, Turn


@asynccontextmanager
async def own(url: str, _: str) -> AsyncIterator[Turn]:
    """Call as the engine does: through the chain with its slots, retries and circuit breaker."""
    from providers.base import Completion, LLMProvider, Message, Options
    from providers.chain.chain import ProviderChain
    from providers.openai import OpenAIProvider

    chain = ProviderChain([OpenAIProvider(config={"base_url": f"{url}/v1"})])
    messages = [Message(each["role"], each["content"]) for each in PROMPT]

    def ask(provider: LLMProvider, options: Options) -> Awaitable[Completion]:
        return provider.chat(messages, options)

    async def call(channel: str, text: str, model: str) -> str:
        answered = await chain.answer(ask, Options(model=model), channel=channel)
        return answered.completion.content

    yield call
    await chain.aclose()


@asynccontextmanager
async def openai_sdk(url: str, _: str) -> AsyncIterator[Turn]:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:

        async def call(channel: str, text: str, model: str) -> str:
            reply = await client.chat.completions.create(model=model, messages=PROMPT)
            return str(reply.choices[0].message.content)

        yield call


@asynccontextmanager
async def litellm_sdk(url: str, _: str) -> AsyncIterator[Turn]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise it fetches a list of prices
    import litellm

    async def call(channel: str, text: str, model: str) -> str:
        asked = {"model": f"openai/{model}", "messages": PROMPT}
        reply = await litellm.acompletion(**asked, api_base=f"{url}/v1", api_key="none")
        return str(reply.choices[0].message.content)

    yield call


@asynccontextmanager
async def aiohttp_by_hand(url: str, _: str) -> AsyncIterator[Turn]:
    import aiohttp

    async with aiohttp.ClientSession(raise_for_status=True) as session:

        async def call(channel: str, text: str, model: str) -> str:
            asked = {"model": model, "messages": PROMPT}
            async with session.post(f"{url}/v1/chat/completions", json=asked) as response:
                reply = await response.json()
            return str(reply["choices"][0]["message"]["content"])

        yield call
