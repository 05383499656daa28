"""The call to the provider that every yardstick makes: one tuned POST, its answer decoded."""

from __future__ import annotations

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

    def stream(self, model: str, text: str) -> aiohttp.client._RequestContextManager:
        """Return the provider's answer as a token stream to read."""
        return self._session.post(self._url, data=self._prompt(model, text, b"true"))

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
