"""This engine in the author's process: `LLMService` with a database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rosey_llm import LLMService, OpenAIProvider

from tests.bench.others import SYSTEM, Turn


@asynccontextmanager
async def open_turns(url: str, database: str) -> AsyncIterator[Turn]:
    # The limit protects a provider; the others have none.
    provider = OpenAIProvider(config={"base_url": f"{url}/v1", "max_concurrency": 4096})
    personas = {"default": SYSTEM}
    async with LLMService(provider=provider, personas=personas, database=database) as service:

        async def turn(channel: str, text: str, model: str) -> str:
            return (await service.chat(text, channel, model=model)).content

        yield turn
