"""What the engine is measured against, in one process: no actors, no storage, no order.

The *bare loop*: NATS in, orjson, one tuned POST, NATS out, all messages side by side.
*One at a time*: the same, but awaited in the NATS callback, as the plugin before this engine did.

`python -m tests.bench.yardsticks NATS_URL PROVIDER_URL` says `{}` once it takes messages.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import Any

import aiohttp
import nats
import orjson
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg
from yarl import URL

from tests.bench.children import say, until_told_to_end

BARE = "bench.bare"
ONE_AT_A_TIME = "bench.one"
ANSWER = "bench.answer"
CONTEXT_MESSAGES = 10
MESSAGE_BYTES = 200


class Yardsticks:
    def __init__(self, client: Client, session: aiohttp.ClientSession, url: URL) -> None:
        self._client = client
        self._session = session
        self._url = url
        self._tasks: set[asyncio.Task[None]] = set()
        # What a channel remembers, as the engine's prompt has it: encoded once, joined each time.
        text = "c" * MESSAGE_BYTES
        roles = ["system", *["user", "assistant"] * CONTEXT_MESSAGES][: CONTEXT_MESSAGES - 1]
        self._context = [orjson.dumps({"role": role, "content": text}) for role in roles]

    async def on_bare(self, msg: Msg) -> None:
        task = asyncio.create_task(self._answer(msg))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def on_one_at_a_time(self, msg: Msg) -> None:
        await self._answer(msg)

    async def _answer(self, msg: Msg) -> None:
        asked = orjson.loads(msg.data)
        async with self._session.post(self._url, data=self._prompt(asked)) as response:
            reply = orjson.loads(await response.read())
        answer = {
            "type": "llm_response",
            "channel_id": asked["channel_id"],
            "content": reply["choices"][0]["message"]["content"],
            "request_id": asked["request_id"],
            "username": asked["username"],
            "action": "chat",
            "model": reply["model"],
            "finish_reason": reply["choices"][0]["finish_reason"],
            "usage": reply["usage"],
        }
        await self._client.publish(ANSWER, orjson.dumps(answer))

    def _prompt(self, asked: dict[str, Any]) -> bytes:
        message = orjson.dumps({"role": "user", "content": asked["message"]})
        return b'{"model":"%b","messages":[%b],"stream":false,"temperature":0.7}' % (
            asked["model"].encode(),
            b",".join([*self._context, message]),
        )


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
        skip_auto_headers=["User-Agent"],
        auto_decompress=False,
    )


async def main(nats_url: str, provider_url: str) -> None:
    client = await nats.connect(nats_url)
    async with _session() as session:
        yardsticks = Yardsticks(client, session, URL(f"{provider_url}/v1/chat/completions"))
        await client.subscribe(BARE, cb=yardsticks.on_bare)
        await client.subscribe(ONE_AT_A_TIME, cb=yardsticks.on_one_at_a_time)
        await asyncio.sleep(0)  # or the PING of the flush would overtake the subscriptions
        await client.flush()
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 50, 50)
        say({})
        await until_told_to_end()
    await client.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
