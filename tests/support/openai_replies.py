"""An OpenAI provider at a fake server, and what servers of its protocol reply."""

from __future__ import annotations

from typing import Any

import orjson

from providers.base import Completion, LLMProvider, Message, Options
from providers.openai import OpenAIProvider
from tests.fakes.llm_server import Behaviour, LLMServer

HELLO = [Message("user", "Hello")]


def at(server: LLMServer, name: str = "openai", **config: Any) -> OpenAIProvider:
    return OpenAIProvider({"base_url": f"{server.url}/v1", **config}, name=name)


async def streamed(provider: LLMProvider, options: Options | None = None) -> Completion:
    items = [item async for item in provider.stream(HELLO, options or Options())]
    completion = items[-1]
    assert isinstance(completion, Completion)
    assert items[:-1] == [item for item in items if isinstance(item, str) and item]
    assert "".join(map(str, items[:-1])) == completion.content
    return completion


def sse(*chunks: dict[str, Any] | str) -> Behaviour:
    """Return a token stream of these chunks."""
    data = [chunk if isinstance(chunk, str) else orjson.dumps(chunk).decode() for chunk in chunks]
    body = "".join(f"data: {text}\n\n" for text in data)
    return Behaviour(body=body, content_type="text/event-stream; charset=utf-8")


def delta(content: Any, reason: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": reason}],
        **more,
    }


def whole(content: Any, reason: Any = "stop", **more: Any) -> Behaviour:
    message = {"role": "assistant", "content": content, **more}
    return Behaviour(body={"choices": [{"message": message, "finish_reason": reason}]})
