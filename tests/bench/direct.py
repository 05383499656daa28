"""A process that calls the provider itself: no NATS, no engine around it.

`python -m tests.bench.direct PROVIDER_URL` writes `{}` when it is ready. Then it answers these
questions, each one line of JSON:

open_loop            calls on a schedule, as the load's `open_loop`: how long each took
read_bare            token streams, read with bare aiohttp: how many chunks a second
read_with_providers  the same, with the engine's providers
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from providers.base import Message, Options
from providers.chain.chain import Answered, ProviderChain
from providers.openai import OpenAIProvider
from tests.bench import children
from tests.bench.fake_provider import PIECE
from tests.bench.figures import percentile
from tests.bench.load import Pace, schedule
from tests.bench.model_call import CONTEXT_MESSAGES, MESSAGE_BYTES, ModelCall, tuned_session

MAX_CONCURRENCY = 4096
TEXT = "m" * MESSAGE_BYTES
Read = Callable[[str, str], Awaitable[str]]  # model, channel -> the whole text


class Direct:
    """The answers to the questions: each method is named as in the question's `do`."""

    def __init__(self, call: ModelCall, chain: ProviderChain) -> None:
        self._call = call
        self._chain = chain
        text = "c" * MESSAGE_BYTES
        self._context = [
            Message("user" if number % 2 else "system", text) for number in range(CONTEXT_MESSAGES)
        ]

    async def open_loop(
        self, *, model: str, rate: float, seconds: float, seed: int
    ) -> dict[str, Any]:
        latencies_ms: list[float] = []

        async def ask(due: float) -> None:
            await self._call.whole(model, TEXT)
            latencies_ms.append((perf_counter() - due) * 1000)

        async with asyncio.TaskGroup() as group:

            def start(_: int, due: float) -> None:
                group.create_task(ask(due))

            pace = Pace(schedule(rate, seconds, seed), start)
            await pace.keep()
        return {
            "answered": len(latencies_ms),
            "p50_ms": percentile(latencies_ms, 50),
            "p99_ms": percentile(latencies_ms, 99),
            "late_p99_ms": percentile(pace.lateness_s, 99) * 1000,
        }

    async def read_bare(self, **more: Any) -> dict[str, Any]:
        async def read(model: str, _: str) -> str:
            pieces: list[str] = []
            async for found in self._call.stream(model, TEXT):
                pieces += found
            return "".join(pieces)

        return await _read(read, **more)

    async def read_with_providers(self, **more: Any) -> dict[str, Any]:
        """Read as the engine does: through the chain with its slots, retries, circuit breaker."""

        async def read(model: str, channel: str) -> str:
            pieces: list[str] = []
            options = Options(model=model)
            async for piece in self._chain.stream(self._context, options, channel=channel):
                if isinstance(piece, Answered):
                    return piece.completion.content
                pieces.append(piece)
            raise AssertionError("the stream did not end with a completion")

        return await _read(read, **more)


async def _read(
    read: Read, *, model: str, chunks: int, streams: int, seconds: float
) -> dict[str, Any]:
    """Count the replies that end in time. Every reply must be complete."""
    counted, whole = 0, PIECE * chunks
    began = latest = perf_counter()

    async def one_after_the_other(channel: str) -> None:
        nonlocal counted, latest
        while perf_counter() < began + seconds:
            text = await read(model, channel)
            assert text == whole, f"expected {len(whole)} characters, got {len(text)}"
            if (now := perf_counter()) < began + seconds:
                counted, latest = counted + chunks, now

    async with asyncio.TaskGroup() as group:
        for number in range(streams):
            group.create_task(one_after_the_other(f"stream-{number}"))
    assert counted, "no stream ended in time"
    return {"chunks_a_second": counted / (latest - began)}


async def main(provider_url: str) -> None:
    config = {"base_url": f"{provider_url}/v1", "max_concurrency": MAX_CONCURRENCY}
    chain = ProviderChain([OpenAIProvider(config, name="bench")])
    try:
        async with tuned_session() as session:
            direct = Direct(ModelCall(session, provider_url), chain)
            children.freeze_garbage()
            await children.answer_questions(direct)
    finally:
        await chain.aclose()


if __name__ == "__main__":
    children.run(main(*sys.argv[1:]))
