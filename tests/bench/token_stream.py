"""A reader of token streams as fast as aiohttp allows: `iter_any`, events split by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import orjson


async def texts(response: aiohttp.ClientResponse) -> AsyncIterator[list[str]]:
    """Yield the texts of the chunks, those of one read in one list."""
    rest = b""
    async for block in response.content.iter_any():
        *events, rest = (rest + block).split(b"\n\n")
        found = []
        for event in events:
            data = event[6:]  # after "data: "
            if data == b"[DONE]":
                continue
            choices = orjson.loads(data)["choices"]
            if choices and (text := choices[0]["delta"].get("content")):
                found.append(text)
        if found:
            yield found
