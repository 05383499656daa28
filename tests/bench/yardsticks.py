"""The yardsticks for the engine, in one process: no actors, no storage, no message order.

Bare loop: NATS in, orjson, one tuned POST, NATS out; all messages run concurrently.
One at a time: the same, awaited in the NATS callback, as the plugin before this engine did.
Bare relay: the bare loop with a token stream, whose pieces are joined for 50 ms and sent on.

`python -m tests.bench.yardsticks NATS_URL PROVIDER_URL` writes `{}` when it takes messages. It also
answers loops of `tests.bench.pacing` without NATS, each a line of JSON, see `Direct`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from time import monotonic
from typing import Any

import aiohttp
import nats
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from yarl import URL

from providers.base import Message, Options
from providers.chain.chain import Answered, ProviderChain
from providers.openai import OpenAIProvider
from tests.bench import children, pacing
from tests.bench.fake_provider import PIECE, chunks_of

BARE = "bench.in.bare"
ONE_AT_A_TIME = "bench.in.one"
RELAY = "bench.in.relay"
ANSWER = "bench.out.bare.response"
DELTA = "bench.out.bare.stream"
JOINED_S = 0.05
CONTEXT_MESSAGES = 10
MESSAGE_BYTES = 200
MAX_CONCURRENCY = 4096
TEXT, PAST_TEXT = "m" * MESSAGE_BYTES, "c" * MESSAGE_BYTES


class ModelCall:
    """The call that every yardstick makes: one tuned POST, written for speed and nothing else."""

    def __init__(self, session: aiohttp.ClientSession, provider_url: str) -> None:
        self._session = session
        self._url = URL(f"{provider_url}/v1/chat/completions")
        # The context, as in the engine's prompt: encoded once, joined for each call.
        roles = ["system", *["user", "assistant"] * CONTEXT_MESSAGES][: CONTEXT_MESSAGES - 1]
        self._context = [orjson.dumps({"role": role, "content": PAST_TEXT}) for role in roles]

    async def whole(self, model: str, text: str) -> dict[str, Any]:
        """Return the provider's answer."""
        async with self._session.post(self._url, data=self._prompt(model, text)) as response:
            reply: dict[str, Any] = orjson.loads(await response.read())
        return reply

    async def stream(self, model: str, text: str) -> AsyncIterator[list[str]]:
        """Yield the texts of a token stream's chunks, those of one read in one list.

        As fast as aiohttp allows: `iter_any`, events split by hand.
        """
        rest, prompt = b"", self._prompt(model, text, b"true")
        async with self._session.post(self._url, data=prompt) as response:
            async for block in response.content.iter_any():
                *events, rest = (rest + block).split(b"\n\n")
                found = []
                for event in events:
                    data = event[6:]  # after "data: "
                    if data == b"[DONE]":
                        continue
                    choices = orjson.loads(data)["choices"]
                    if choices and (piece := choices[0]["delta"].get("content")):
                        found.append(piece)
                if found:
                    yield found

    def _prompt(self, model: str, text: str, stream: bytes = b"false") -> bytes:
        message = orjson.dumps({"role": "user", "content": text})
        return b'{"model":"%b","messages":[%b],"stream":%b,"temperature":0.7}' % (
            model.encode(),
            b",".join([*self._context, message]),
            stream,
        )


class Loops:
    """The three loops over NATS, each on a subject of its own."""

    def __init__(self, client: Client, call: ModelCall) -> None:
        self._client = client
        self._call = call
        self._tasks: set[asyncio.Task[None]] = set()

    async def subscribe(self) -> None:
        await self._client.subscribe(BARE, cb=self._concurrently(self._answer))
        await self._client.subscribe(ONE_AT_A_TIME, cb=self._answer)
        await self._client.subscribe(RELAY, cb=self._concurrently(self._relay))
        await asyncio.sleep(0)  # otherwise the PING of the flush would overtake the subscriptions
        await self._client.flush()

    def _concurrently(
        self, handler: Callable[[Msg], Awaitable[None]]
    ) -> Callable[[Msg], Awaitable[None]]:
        async def on_msg(msg: Msg) -> None:
            task = asyncio.ensure_future(handler(msg))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return on_msg

    async def _answer(self, msg: Msg) -> None:
        asked = orjson.loads(msg.data)
        reply = await self._call.whole(asked["model"], asked["message"])
        choice = reply["choices"][0]
        answer = _answer(asked, choice["message"]["content"], reply["model"])
        answer["finish_reason"] = choice["finish_reason"]
        answer["usage"] = reply["usage"]
        await self._client.publish(ANSWER, orjson.dumps(answer))

    async def _relay(self, msg: Msg) -> None:
        asked = orjson.loads(msg.data)
        pieces: list[str] = []
        held: list[str] = []
        index, send_at = 0, monotonic() + JOINED_S
        async for found in self._call.stream(asked["model"], asked["message"]):
            pieces += found
            held += found
            if monotonic() >= send_at:
                await self._delta(asked, index, "".join(held))
                held, index, send_at = [], index + 1, monotonic() + JOINED_S
        if held:
            await self._delta(asked, index, "".join(held))
        answer = _answer(asked, "".join(pieces), asked["model"])
        await self._client.publish(ANSWER, orjson.dumps(answer))

    async def _delta(self, asked: dict[str, Any], index: int, text: str) -> None:
        ids = {key: asked[key] for key in ("channel_id", "request_id")}
        delta = {"type": "llm_delta", **ids, "index": index, "delta": text}
        await self._client.publish(DELTA, orjson.dumps(delta))


def _answer(asked: dict[str, Any], content: str, model: str) -> dict[str, Any]:
    return {
        "type": "llm_response",
        "channel_id": asked["channel_id"],
        "content": content,
        "request_id": asked["request_id"],
        "username": asked["username"],
        "action": "chat",
        "model": model,
    }


class Direct(pacing.Sender):
    """Asks the provider without NATS.

    way: "whole", one tuned call; "stream", a token stream read by hand; "providers", a token stream
    read as the engine does, through the chain with its slots, retries, circuit breaker. Every
    streamed reply must be complete.
    """

    def __init__(self, call: ModelCall, chain: ProviderChain) -> None:
        self._call = call
        self._chain = chain
        pair = [Message("system", PAST_TEXT), Message("user", PAST_TEXT)]
        self._context = pair * (CONTEXT_MESSAGES // 2)

    def ask(self, how: Mapping[str, Any]) -> pacing.Ask:
        model: str = how["model"]
        text, options = PIECE * chunks_of(model), Options(model=model)

        async def whole(_: str) -> bool:
            await self._call.whole(model, TEXT)
            return False

        async def stream(_: str) -> bool:
            pieces: list[str] = []
            async for found in self._call.stream(model, TEXT):
                pieces += found
            assert "".join(pieces) == text
            return False

        async def providers(channel: str) -> bool:
            async for piece in self._chain.stream(self._context, options, channel=channel):
                if isinstance(piece, Answered):
                    assert piece.completion.content == text
            return False

        return {"whole": whole, "stream": stream, "providers": providers}[how["way"]]


def tuned_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
        skip_auto_headers=["User-Agent"],
        auto_decompress=False,
        raise_for_status=True,
    )


async def main(nats_url: str, provider_url: str) -> None:
    client = await nats.connect(nats_url)
    config = {"base_url": f"{provider_url}/v1", "max_concurrency": MAX_CONCURRENCY}
    chain = ProviderChain([OpenAIProvider(config, name="bench")])
    async with tuned_session() as session:
        call = ModelCall(session, provider_url)
        await Loops(client, call).subscribe()
        children.freeze_garbage()
        await children.answer_questions(Direct(call, chain))
    await chain.aclose()
    await client.close()


if __name__ == "__main__":
    children.run(main(*sys.argv[1:]))
