"""Decoding of NATS messages into requests: tolerant of unknown keys, strict about types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import orjson

from engine.commands.outcomes import Action
from engine.commands.parser import parse
from engine.commands.records import Chat, Command, Complete, Reset
from engine.commands.request import ANONYMOUS, Request
from engine.commands.validation import (
    check_channel_id,
    check_length,
    check_name,
    check_request_id,
    check_roles,
    check_text,
    check_user_id,
    invalid_field,
    new_request_id,
)
from engine.config.settings import ConversationSettings
from engine.errors import InvalidRequest
from engine.texts import message_faults
from engine.texts.sentence import Said
from engine.traffic import written_numbers
from engine.traffic.envelope import is_envelope, unwrapped
from engine.traffic.reply_rules import ReplyRules
from providers import trace, validation
from providers.validation import Count, Temperature, ValidationError

Message = TypeVar("Message", "ChatBody", "RequestBody")
ALIASES = (("channel", "channel_id"), ("user", "username"))
RequestAction = Literal["chat", "complete", "reset"]
REQUEST_ACTIONS: tuple[RequestAction, ...] = get_args(RequestAction)
REQUEST_ID_HEADER = "nats-msg-id"  # compared case-insensitively; nats-py keeps the sender's case


@dataclass(frozen=True, slots=True)
class ChatBody:
    """The fields of a message on `rosey.command.chat`."""

    channel_id: str
    username: str | None = None
    request_id: str | None = None
    user_id: str | None = None
    roles: tuple[str, ...] | None = None
    is_bot: bool | None = None
    args: Any = None
    status: bool | None = None
    reply_to: str | None = None
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class RequestBody:
    """The fields of a message on `llm.request`."""

    channel_id: str
    action: RequestAction
    username: str | None = None
    user_id: str | None = None
    roles: tuple[str, ...] | None = None
    is_bot: bool | None = None
    request_id: str | None = None
    message: str | None = None
    model: str | None = None
    temperature: Temperature | None = None
    max_tokens: Count | None = None
    persona: str | None = None
    stream: bool | None = None
    status: bool | None = None
    reply_to: str | None = None
    correlation_id: str | None = None


class Refused(NamedTuple):
    """A message that is not valid, as far as it could be read, and where its sender hears of it."""

    channel_id: str
    request_id: str
    said: Said | None
    replies: tuple[str, ...]
    username: str | None = None
    action: Action | None = None
    is_bot: bool = False


def decode_chat(
    data: bytes,
    headers: Mapping[str, str] | None,
    replies: tuple[str, ...],
    settings: ConversationSettings,
    rules: ReplyRules,
) -> Request | Refused:
    """Decode a message on `rosey.command.chat`. replies: those that NATS gave with it."""
    return _decode(ChatBody, _chat_command, data, headers, replies, settings, rules)


def decode_request(
    data: bytes,
    headers: Mapping[str, str] | None,
    replies: tuple[str, ...],
    settings: ConversationSettings,
    rules: ReplyRules,
) -> Request | Refused:
    """Decode a message on `llm.request`. replies: those that NATS gave with it."""
    return _decode(RequestBody, _request_command, data, headers, replies, settings, rules)


def _chat_command(body: ChatBody, settings: ConversationSettings) -> Command:
    line = _line(body.args)
    check_length(line, settings.max_message_bytes)
    parsed = parse(line)
    if not isinstance(parsed, Chat):
        return parsed
    check_text(parsed.text, settings.max_message_bytes)
    return Chat(parsed.text, stream=settings.stream)


def _request_command(body: RequestBody, settings: ConversationSettings) -> Command:
    check_name("model", body.model, settings.max_message_bytes)
    check_name("persona", body.persona, settings.max_message_bytes)
    if body.action == "reset":
        return Reset()
    if body.message is None:
        raise ValidationError("message", "missing")
    check_text(body.message, settings.max_message_bytes)
    kind = Chat if body.action == "chat" else Complete
    return kind(
        body.message,
        body.model,
        body.temperature,
        body.max_tokens,
        body.persona,
        bool(body.stream),
    )


def _decode(
    cls: type[Message],
    command: Callable[[Message, ConversationSettings], Command],
    data: bytes,
    headers: Mapping[str, str] | None,
    replies: tuple[str, ...],
    settings: ConversationSettings,
    rules: ReplyRules,
) -> Request | Refused:
    values: Mapping[str, Any] = {}
    try:
        values = _object(data, headers)
        replies = rules.of_payload(values, replies)
        message = validation.read_known(values, cls)
        check_channel_id(message.channel_id, settings.max_message_bytes)
        check_name("username", message.username, settings.max_message_bytes)
        check_user_id(message.user_id)
        check_roles(message.roles)
        request_id = message.request_id or new_request_id()
        check_request_id(request_id)
        return Request(
            message.channel_id,
            request_id,
            (message.username or "").strip() or ANONYMOUS,
            command(message, settings),
            replies,
            trace.read(headers) if headers else None,
            bool(message.status),
            message.user_id or None,
            message.roles or (),
            bool(message.is_bot),
            by_program=cls is RequestBody,
            has_given_id=bool(message.request_id),
        )
    except (InvalidRequest, ValidationError) as exc:
        return Refused(
            _shortened(values.get("channel_id")),
            _shortened(values.get("request_id")) or new_request_id(),
            exc.said if isinstance(exc, InvalidRequest) else invalid_field(exc),
            replies,
            _shortened(values.get("username")) or None,
            _action(values.get("action")) if cls is RequestBody else None,
            values.get("is_bot") is True,
        )


def _object(data: bytes, headers: Mapping[str, str] | None) -> dict[str, Any]:
    try:
        values: Any = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequest(message_faults.NOT_JSON(error=str(exc))) from None
    if not isinstance(values, dict):
        raise InvalidRequest(message_faults.NOT_AN_OBJECT(value=validation.shown(values)))
    enveloped = is_envelope(values)
    message: dict[str, Any] = unwrapped(values) if enveloped else values
    written_numbers.as_text(message, data, enveloped=enveloped)
    for alias, name in ALIASES:
        if alias in message and message.get(name) is None:
            message[name] = message[alias]
    if headers and not message.get("request_id"):
        for name, value in headers.items():
            if name.casefold() == REQUEST_ID_HEADER:
                message["request_id"] = value
    return message


def _line(args: object) -> str:
    if args is None:
        return ""
    if isinstance(args, str):
        return args
    if isinstance(args, list):
        try:
            return " ".join(args)
        except TypeError:
            index, word = next((i, each) for i, each in enumerate(args) if type(each) is not str)
            got = "null" if word is None else validation.shown(word)
            problem = f"expected a word or a number, got {got}"
            raise ValidationError(f"args[{index}]", problem) from None
    raise ValidationError(
        "args", f"expected a list of words or a string, got {validation.shown(args)}"
    )


def _action(value: object) -> Action | None:
    return next((action for action in REQUEST_ACTIONS if action == value), None)


def _shortened(value: object) -> str:
    return value[:1024] if isinstance(value, str) else ""
