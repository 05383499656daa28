"""The call to the provider that every yardstick makes: one tuned POST, its answer decoded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
from yarl import URL

CONTEXT_MESSAGES = 10
MESSAGE_BYTES = 200


class ModelCall:
    """A caller of the provider that is written for speed and nothing else."""

    def __init__(self, session: aiohttp.ClientSession, provider_url: str) -> None:
        self._session = session
        self._url = URL(f"{provider_url}/v1/chat/completions")
        # The context, as in the engine's prompt: encoded once, joined for each call.
        text = "c" * MESSAGE_BYTES
        roles = ["system", *["user", "assistant"] * CONTEXT_MESSAGES][: CONTEXT_MESSAGES - 1]
        self._context = [orjson.dumps({"role": role, "content": text}) for role in roles]

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
