"""Reads the chunks and whole answers of OpenAI's chat completions into a draft."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from orjson import JSONDecodeError

from providers.errors import BadAnswer, ProviderError
from providers.http.draft import Draft, usage_of
from providers.http.error_mapping import as_dict
from providers.http.plain_chunks import PlainChunks
from providers.http.stream_parser import ServerSentEvent, parsed

logger = logging.getLogger("rosey_llm.providers")

Failure = Callable[[object], ProviderError]
"""Returns the error for an error body."""


def read_events(
    events: Sequence[bytes | ServerSentEvent], draft: Draft, failure: Failure, plain: PlainChunks
) -> None:
    """Add the events of a token stream to the draft. plain: those of the same stream."""
    for event in events:
        if draft.done:
            return
        if isinstance(event, bytes) and (text := plain.text_of(event)):  # as nearly always
            draft.add(text)
            continue
        if isinstance(event, ServerSentEvent):
            data, is_error = event.data, event.kind == "error"
        else:
            data, is_error = event, False
        if data.strip() == b"[DONE]":
            draft.done = True
            return
        try:
            answer = parsed(data)
        except JSONDecodeError:
            if is_error:
                raise failure({"error": data.decode("utf-8", "replace")}) from None
            _read_odd(data, draft, failure, plain)
            continue
        if is_error and isinstance(answer, dict) and "error" not in answer:
            answer = {"error": answer}
        read_answer(answer, draft, failure)
        plain.learn(data, answer)


def _read_odd(event: bytes, draft: Draft, failure: Failure, plain: PlainChunks) -> None:
    """Read an event that is no JSON: line by line if it has several, else not at all.

    JSONDecodeError if it began as an object: then a piece of the text may be lost.
    """
    if b"\n" in event:
        lines = [line for line in event.split(b"\n") if line.strip()]
        read_events(lines, draft, failure, plain)
        return
    draft.unreadable = True
    if event.lstrip().startswith(b"{"):
        parsed(event)
    logger.debug(
        "%(label)s sent an event that is no JSON; it is skipped.",
        {"event": "provider.piece_skipped", "label": draft.label},
    )


def read_answer(answer: object, draft: Draft, failure: Failure) -> None:
    """Add a chunk, or a whole answer, to the draft."""
    if not isinstance(answer, dict):
        return
    choices = answer.get("choices")
    choice = as_dict(choices[0]) if choices and isinstance(choices, list) else {}
    if error := answer.get("error") or choice.get("error"):
        raise failure({"error": error})
    if reason := choice.get("finish_reason"):
        _read_reason(reason, draft)
    if (model := answer.get("model")) and isinstance(model, str):
        draft.model = model
    if (usage := answer.get("usage")) and isinstance(usage, dict):
        _read_usage(usage, draft)
    if (delta := choice.get("delta")) and isinstance(delta, dict):
        content = delta.get("content")
        # Nearly all chunks have plain text.
        text = content if content and isinstance(content, str) else _text_in(delta, draft)
        if text and not (reason and draft.repeats(text)):
            draft.add(text)
            draft.streamed = True
    elif older := choice.get("text"):  # a completion of the older kind
        draft.add(_text(older, draft))
    if (message := choice.get("message")) and isinstance(message, dict):
        # A message is the whole text, but some servers send the pieces in one each.
        draft.add_whole(_text_in(message, draft), sure=draft.streamed)


def _read_reason(reason: object, draft: Draft) -> None:
    if reason == "error":
        raise BadAnswer(f"{draft.label} reported an error in the middle of its answer")
    draft.finish_reason = reason if isinstance(reason, str) else "other"


def _read_usage(usage: dict[str, Any], draft: Draft) -> None:
    draft.usage = usage_of(
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        as_dict(usage.get("prompt_tokens_details")).get("cached_tokens"),
        usage.get("cost"),
    )
    if as_dict(usage.get("completion_tokens_details")).get("reasoning_tokens"):
        draft.thought = True


def _text_in(part: dict[str, Any], draft: Draft) -> str:
    """Return the text of a delta or a message; note what else it has if it has no text."""
    if content := part.get("content"):
        text = content if isinstance(content, str) else _text(content, draft)
        if text:
            return text
    if (refusal := part.get("refusal")) and isinstance(refusal, str):
        draft.refused = True
        return refusal
    if part.get("reasoning_content") or part.get("reasoning") or part.get("reasoning_details"):
        draft.thought = True
    if part.get("tool_calls") or part.get("function_call"):
        draft.called_tool = True
    return ""


def _text(content: object, draft: Draft) -> str:
    """Return the text in a content that may be a list of parts of several types."""
    if isinstance(content, str):
        return content
    texts: list[object] = []
    for part in map(as_dict, content if isinstance(content, list) else [content]):
        match part.get("type", "text"):
            case "text" | "output_text":
                texts.append(part.get("text"))
            case "refusal":
                draft.refused = True
                texts.append(part.get("refusal"))
            case "thinking" | "reasoning":
                draft.thought = True
    return "".join(text for text in texts if isinstance(text, str))
