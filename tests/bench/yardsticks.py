"""The yardsticks for the engine, in one process: no actors, no storage, no message order.

Bare loop: NATS in, orjson, one tuned POST, NATS out; all messages run concurrently.
One at a time: the same, awaited in the NATS callback, as the plugin before this engine did.
Bare relay: the bare loop with a token stream, whose pieces are joined for 50 ms and sent on.

`python -m tests.bench.yardsticks NATS_URL PROVIDER_URL` writes `{}` when it takes messages.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import nats
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from tests.bench import children
from tests.bench.model_call import ModelCall, tuned_session

BARE = "bench.in.bare"
ONE_AT_A_TIME = "bench.in.one"
RELAY = "bench.in.relay"
ANSWER = "bench.out.bare.response"
DELTA = "bench.out.bare.stream"
JOINED_S = 0.05

Handler = Callable[[Msg], Awaitable[None]]


class Yardsticks:
    """The three loops, each on a subject of its own."""

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

    def _concurrently(self, handler: Handler) -> Handler:
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
        delta = {
            "type": "llm_delta",
            "channel_id": asked["channel_id"],
            "request_id": asked["request_id"],
            "index": index,
            "delta": text,
        }
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


async def main(nats_url: str, provider_url: str) -> None:
    client = await nats.connect(nats_url)
    async with tuned_session() as session:
        await Yardsticks(client, ModelCall(session, provider_url)).subscribe()
        children.freeze_garbage()
        children.write_line({})
        await children.until_stdin_closes()
    await client.close()


if __name__ == "__main__":
    children.run(main(*sys.argv[1:]))
