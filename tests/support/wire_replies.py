"""Replies of a model's server, byte by byte as a test wants them, and how a provider reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from providers.base import Completion, LLMProvider, Message, Options
from providers.ollama import OllamaProvider
from providers.openai import OpenAIProvider
from tests.fakes.llm_server import Behaviour, LLMServer

HELLO = [Message("user", "Hello")]
SSE = "text/event-stream"
NDJSON = "application/x-ndjson"


def openai_at(server: LLMServer, **config: Any) -> OpenAIProvider:
    return OpenAIProvider({"base_url": f"{server.url}/v1", **config})


def ollama_at(server: LLMServer, **config: Any) -> OllamaProvider:
    return OllamaProvider({"base_url": server.url, **config})


def json_of(value: object) -> str:
    return orjson.dumps(value).decode()


def events(*chunks: object, end: str = "\n\n") -> Behaviour:
    """Return a token stream of OpenAI's protocol; a chunk that is text is sent as it is."""
    texts = [chunk if isinstance(chunk, str) else json_of(chunk) for chunk in chunks]
    return Behaviour(body="".join(f"data: {text}{end}" for text in texts), content_type=SSE)


def lines(*objects: object) -> Behaviour:
    """Return a token stream of Ollama's protocol; a line that is text is sent as it is."""
    texts = [line if isinstance(line, str) else json_of(line) for line in objects]
    return Behaviour(body="".join(f"{text}\n" for text in texts), content_type=NDJSON)


def delta(content: object, reason: object = None, **more: object) -> dict[str, Any]:
    return {
        "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": reason}]
    } | more


def message(content: object, reason: object = "stop", **more: object) -> dict[str, Any]:
    """Return a whole answer, which is also what some servers send as the last chunk."""
    said = {"role": "assistant", "content": content, **more}
    return {"choices": [{"index": 0, "message": said, "finish_reason": reason}]}


def piece(content: object, **more: object) -> dict[str, Any]:
    """Return a line of Ollama's."""
    return {"message": {"role": "assistant", "content": content}, "done": False} | more


def refusal(error: object, status: int = 400) -> Behaviour:
    body = error if isinstance(error, str) else json_of(error)
    return Behaviour(status=status, body=body)


async def streamed(
    provider: LLMProvider, messages: Sequence[Message] = HELLO, options: Options | None = None
) -> Completion:
    """Return the completion of a token stream, whose pieces must join to its text."""
    items = [item async for item in provider.stream(messages, options or Options())]
    completion = items[-1]
    assert isinstance(completion, Completion)
    assert "".join(map(str, items[:-1])) == completion.content
    return completion


async def whole(
    provider: LLMProvider, messages: Sequence[Message] = HELLO, options: Options | None = None
) -> Completion:
    return await provider.chat(messages, options or Options())
