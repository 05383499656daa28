"""A process that reads token streams, with the engine's providers or with bare aiohttp.

`python -m tests.bench.assembling providers|bare PROVIDER_URL` writes `{}` when it is ready. Each
question then names `streams`, `model` and `seconds`; the answer is how many chunks it read.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import uvloop

from providers.base import Message, Options
from providers.chain.chain import Answered, ProviderChain
from providers.openai import OpenAIProvider
from tests.bench import token_stream
from tests.bench.children import questions, write_line
from tests.bench.fake_provider import PIECE
from tests.bench.model_call import CONTEXT_MESSAGES, MESSAGE_BYTES, ModelCall, tuned_session

Assemble = Callable[[str, str], Awaitable[tuple[int, str]]]  # model, channel -> chunks, text
MAX_CONCURRENCY = 4096


def with_providers(chain: ProviderChain) -> Assemble:
    """Read as the engine does: through the chain with its slots, retries and circuit breaker."""
    text = "c" * MESSAGE_BYTES
    messages = [Message("user" if number % 2 else "system", text) for number in range(10)]
    messages = messages[:CONTEXT_MESSAGES]

    async def assemble(model: str, channel: str) -> tuple[int, str]:
        pieces: list[str] = []
        async for piece in chain.stream(messages, Options(model=model), channel=channel):
            if isinstance(piece, Answered):
                return len(pieces), piece.completion.content
            pieces.append(piece)
        raise AssertionError("the stream did not end with a completion")

    return assemble


def bare(call: ModelCall) -> Assemble:
    async def assemble(model: str, channel: str) -> tuple[int, str]:
        pieces: list[str] = []
        async with call.stream(model, "m" * MESSAGE_BYTES) as response:
            async for found in token_stream.texts(response):
                pieces += found
        return len(pieces), "".join(pieces)

    return assemble


async def measure(
    assemble: Assemble, *, model: str, chunks: int, streams: int, seconds: float
) -> dict[str, Any]:
    """Count the replies that end in time. Every reply must be complete."""
    counted, whole = 0, PIECE * chunks
    began = latest = perf_counter()

    async def one_after_the_other(channel: str) -> None:
        nonlocal counted, latest
        while (now := perf_counter()) < began + seconds:
            _, text = await assemble(model, channel)
            assert text == whole, f"expected {len(whole)} characters, got {len(text)}"
            if (now := perf_counter()) < began + seconds:
                counted, latest = counted + chunks, now

    async with asyncio.TaskGroup() as group:
        for number in range(streams):
            group.create_task(one_after_the_other(f"stream-{number}"))
    assert counted, "no stream ended in time"
    return {"chunks_a_second": counted / (latest - began)}


async def _answer(assemble: Assemble) -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    write_line({})
    async for question in questions():
        write_line(await measure(assemble, **question))


async def main(way: str, provider_url: str) -> None:
    if way == "bare":
        async with tuned_session() as session:
            await _answer(bare(ModelCall(session, provider_url)))
        return
    config = {"base_url": f"{provider_url}/v1", "max_concurrency": MAX_CONCURRENCY}
    chain = ProviderChain([OpenAIProvider(config, name="bench")])
    try:
        await _answer(with_providers(chain))
    finally:
        await chain.aclose()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
