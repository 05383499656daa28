"""The answers of Ollama, OpenAI and OpenRouter, as bodies and as token streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

PROMPT_TOKENS = 11
COMPLETION_TOKENS = 7


def whole(
    path: str,
    asked: Mapping[str, Any],
    text: str,
    finish_reason: str,
    usage: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the body of an answer on this path. usage: another one than the usual, of OpenAI."""
    model = asked.get("model")
    if path in ("/api/chat", "/api/generate"):
        answer: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
        if path == "/api/generate":
            answer = {"response": text}
        return {"model": model, **answer, **_native_end(finish_reason)}
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": usage or _usage(),
    }


CATEGORIES = ("harassment", "harassment/threatening", "hate", "sexual", "violence")


def moderation(asked: Mapping[str, Any], flags: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of a judgement: a text with a word of `flags` has that word's category."""
    found = {category for word, category in flags.items() if word in asked["input"]}
    names = sorted({*CATEGORIES, *flags.values()})
    result = {
        "flagged": bool(found),
        "categories": {name: name in found for name in names},
        "category_scores": {name: 0.9 if name in found else 0.01 for name in names},
        "category_applied_input_types": {name: ["text"] for name in names},
    }
    return {"id": "modr-1", "model": asked["model"], "results": [result]}


def stream(
    path: str,
    asked: Mapping[str, Any],
    pieces: list[str],
    finish_reason: str,
    usage: Mapping[str, Any] | None = None,
) -> list[bytes]:
    """Return one part of a token stream for each piece, and one that ends the answer."""
    model = asked.get("model")
    if path == "/api/chat":
        lines: list[dict[str, Any]] = [
            {"message": {"role": "assistant", "content": piece}} for piece in pieces
        ]
        lines.append(
            {"message": {"role": "assistant", "content": ""}, **_native_end(finish_reason)}
        )
        return [orjson.dumps({"model": model, "done": False, **line}) + b"\n" for line in lines]
    chunks = [_sse(model, [{"index": 0, "delta": {"content": piece}}]) for piece in pieces]
    end = _sse(model, [{"index": 0, "delta": {}, "finish_reason": finish_reason}])
    if asked.get("stream_options", {}).get("include_usage"):
        end += _sse(model, [], usage=usage or _usage())
    return [*chunks, end + b"data: [DONE]\n\n"]


def _sse(model: object, choices: list[Any], **more: Any) -> bytes:
    chunk = {"object": "chat.completion.chunk", "model": model, "choices": choices, **more}
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _native_end(reason: str) -> dict[str, Any]:
    counts = {"prompt_eval_count": PROMPT_TOKENS, "eval_count": COMPLETION_TOKENS}
    return {"done": True, "done_reason": reason, **counts}


def _usage() -> dict[str, int]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": COMPLETION_TOKENS,
        "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
    }
