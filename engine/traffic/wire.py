"""Bytes become a request. Reading is liberal about names and unknown keys, strict about types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

import orjson

from engine.commands.kinds import Chat, Command, Complete, Reset
from engine.commands.limits import (
    check_length,
    check_name,
    check_request_id,
    check_text,
    new_request_id,
)
from engine.commands.parser import parse
from engine.errors import InvalidRequest
from engine.mailbox import Request
from engine.outcomes import Failure
from engine.settings import ConversationSettings
from providers import records, trace
from providers.records import Count, RecordError, Temperature

T = TypeVar("T")
ALIASES = {"channel": "channel_id", "user": "username"}
REQUEST_ID_HEADER = "nats-msg-id"  # in any case: nats-py does not fold it


@dataclass(frozen=True, slots=True)
class Addressed:
    """What every message may say about itself."""

    channel_id: str
    username: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """The rest of an `llm.request`."""

    action: Literal["chat", "complete", "reset"]
    message: str | None = None
    model: str | None = None
    temperature: Temperature | None = None
    max_tokens: Count | None = None
    persona: str | None = None
    stream: bool | None = None


def decode_chat(
    data: bytes,
    headers: Mapping[str, str] | None,
    replies: tuple[str, ...],
    settings: ConversationSettings,
) -> Request | Failure:
    """A message on `rosey.command.chat`."""

    def command(values: Mapping[str, Any]) -> Command:
        line = _line(values.get("args"))
        check_length(line, settings.max_message_bytes)
        parsed = parse(line)
        if not isinstance(parsed, Chat):
            return parsed
        check_text(parsed.text, settings.max_message_bytes)
        return Chat(parsed.text, stream=settings.stream)

    return _decode(data, headers, replies, settings.max_message_bytes, command)


def decode_request(
    data: bytes,
    headers: Mapping[str, str] | None,
    replies: tuple[str, ...],
    settings: ConversationSettings,
) -> Request | Failure:
    """A message on `llm.request`."""

    def command(values: Mapping[str, Any]) -> Command:
        asked = _read(values, Asked)
        check_name("model", asked.model, settings.max_message_bytes)
        check_name("persona", asked.persona, settings.max_message_bytes)
        if asked.action == "reset":
            return Reset()
        if asked.message is None:
            raise RecordError("message", "missing")
        check_text(asked.message, settings.max_message_bytes)
        kind = Chat if asked.action == "chat" else Complete
        return kind(
            asked.message,
            asked.model,
            asked.temperature,
            asked.max_tokens,
            asked.persona,
            bool(asked.stream),
        )

    return _decode(data, headers, replies, settings.max_message_bytes, command)


def _decode(
    data: bytes,
    headers: Mapping[str, str] | None,
    replies: tuple[str, ...],
    max_bytes: int,
    command: Callable[[Mapping[str, Any]], Command],
) -> Request | Failure:
    values: Mapping[str, Any] = {}
    try:
        values = _object(data, headers)
        addressed = _read(values, Addressed)
        check_name("channel_id", addressed.channel_id, max_bytes)
        check_name("username", addressed.username, max_bytes)
        if not addressed.channel_id.strip():
            raise RecordError("channel_id", "expected a channel's name, got nothing")
        request_id = addressed.request_id or new_request_id()
        check_request_id(request_id)
        username = (addressed.username or "").strip() or "User"
        context = trace.read(headers) if headers else None
        return Request(
            addressed.channel_id, request_id, username, command(values), replies, context
        )
    except (InvalidRequest, RecordError) as exc:
        return Failure(
            _as_it_came(values.get("channel_id")),
            _as_it_came(values.get("request_id")) or new_request_id(),
            InvalidRequest.code,
            str(exc),
        )


def _object(data: bytes, headers: Mapping[str, str] | None) -> dict[str, Any]:
    try:
        values = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequest(f"The message is not JSON in UTF-8: {exc}.") from None
    if not isinstance(values, dict):
        raise InvalidRequest(f"Expected a JSON object, got {records.shown(values)}.")
    for alias, name in ALIASES.items():
        if values.get(name) is None and alias in values:
            values[name] = values[alias]
    if not values.get("request_id"):
        for name, value in (headers or {}).items():
            if name.casefold() == REQUEST_ID_HEADER:
                values["request_id"] = value
    return values


def _read(values: Mapping[str, Any], cls: type[T]) -> T:
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    return records.read({key: values[key] for key in known & values.keys()}, cls)


def _line(args: object) -> str:
    if args is None:
        return ""
    if isinstance(args, str):
        return args
    if isinstance(args, list) and all(isinstance(word, str) for word in args):
        return " ".join(args)
    raise RecordError("args", f"expected a list of words or a string, got {records.shown(args)}")


def _as_it_came(value: object) -> str:
    return value[:1024] if isinstance(value, str) else ""
