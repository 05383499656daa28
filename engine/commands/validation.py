"""Checks of a message's text, names and settings, for NATS and for callers in the same process.

All raise InvalidRequest. Values have the type `object` because a caller may pass anything.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from engine.errors import InvalidRequest
from engine.texts import message_faults
from engine.texts.sentence import Said
from providers import validation
from providers.invisible import is_blank
from providers.validation import Count, Temperature, ValidationError, shown
from storage import channels

MAX_REQUEST_ID = 128
MAX_USER_ID = 128
MAX_ROLES = 32
MAX_ROLE = 64


@dataclass(frozen=True, slots=True)
class Choices:
    """A message's settings for its answer. None means the default of the persona or provider."""

    model: str | None = None
    temperature: Temperature | None = None
    max_tokens: Count | None = None
    persona: str | None = None


_NOTHING_CHOSEN = Choices()


def check_text(text: object, max_bytes: int) -> None:
    """Raise InvalidRequest if the message is empty, too long or not text."""
    text = _string("message", text)
    if is_blank(text):
        raise InvalidRequest(message_faults.MESSAGE_EMPTY())
    if _is_plain(text, max_bytes):
        return
    check_length(text, max_bytes)
    if "\0" in text:
        raise InvalidRequest(message_faults.MESSAGE_NOT_TEXT())


def check_length(text: str, max_bytes: int) -> None:
    """Raise InvalidRequest if the message is too long."""
    size = _size("message", text)
    if size > max_bytes:
        raise InvalidRequest(message_faults.MESSAGE_TOO_LONG(bytes=size, limit=max_bytes))


def check_name(key: str, name: object, max_bytes: int) -> None:
    """Raise InvalidRequest if the name in `key` is not text or too long. None is valid."""
    if name is None or _is_plain(name, max_bytes):
        return
    text = _string(key, name)
    size = _size(key, text)
    if size > max_bytes:
        raise InvalidRequest(message_faults.FIELD_TOO_LONG(field=key, limit=max_bytes, bytes=size))
    if "\0" in text:  # a command line cannot contain it, so it could not be erased
        raise InvalidRequest(message_faults.FIELD_NOT_TEXT(field=key))


def check_channel_id(channel_id: object, max_bytes: int) -> None:
    if not _string("channel_id", channel_id).strip():
        raise InvalidRequest(message_faults.CHANNEL_EMPTY())
    if channel_id == channels.ENGINE:
        raise InvalidRequest(message_faults.CHANNEL_RESERVED(channel=channels.ENGINE))
    check_name("channel_id", channel_id, max_bytes)


def check_choices(choices: Choices, max_bytes: int) -> None:
    """Raise InvalidRequest if a value has a wrong type or range, or a name is too long."""
    if choices == _NOTHING_CHOSEN:  # as nearly always
        return
    try:
        validation.read({name: getattr(choices, name) for name in Choices.__slots__}, Choices)
    except ValidationError as exc:
        raise InvalidRequest(invalid_field(exc)) from None
    check_name("model", choices.model, max_bytes)
    check_name("persona", choices.persona, max_bytes)


def check_request_id(request_id: object, key: str = "request_id") -> None:
    if not _is_plain(request_id, MAX_REQUEST_ID):
        _check_id(key, request_id, MAX_REQUEST_ID)


def check_user_id(user_id: object) -> None:
    """Raise InvalidRequest if a platform's id of a user is not text or too long. None is valid."""
    if user_id is None:
        return
    text = _check_id("user_id", user_id, MAX_USER_ID)
    if "\0" in text:  # a command line cannot contain it, so it could not be erased
        raise InvalidRequest(message_faults.FIELD_NOT_TEXT(field="user_id"))


def invalid_field(exc: ValidationError) -> Said:
    """Return what a sender is told about a field that cannot be read."""
    return message_faults.FIELD_INVALID(field=exc.path, error=str(exc))


def new_request_id() -> str:
    return secrets.token_hex(16)


def check_roles(roles: object) -> None:
    """Raise InvalidRequest if these are not a few short words. None is valid."""
    if roles is None:
        return
    if not isinstance(roles, (list, tuple)) or len(roles) > MAX_ROLES:
        raise InvalidRequest(message_faults.ROLES_NOT_WORDS(number=MAX_ROLES))
    for index, role in enumerate(roles):
        _check_id(f"roles[{index}]", role, MAX_ROLE)


def check_is_bot(is_bot: object) -> None:
    """Raise InvalidRequest if this is neither true nor false."""
    if not isinstance(is_bot, bool):
        problem = f"expected true or false, got {shown(is_bot)}"
        raise InvalidRequest(invalid_field(ValidationError("is_bot", problem)))


def _check_id(key: str, value: object, most: int) -> str:
    text = _string(key, value)
    _size(key, text)
    if len(text) > most:
        raise InvalidRequest(message_faults.ID_TOO_LONG(field=key, limit=most, number=len(text)))
    return text


def _is_plain(value: object, most: int) -> bool:
    """Return whether it is text as nearly all is: ASCII, short enough, and without NUL."""
    return isinstance(value, str) and value.isascii() and len(value) <= most and "\0" not in value


def _string(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(message_faults.FIELD_NOT_STRING(field=key, value=shown(value)))
    return value


def _size(key: str, text: str) -> int:
    if text.isascii():  # constant time: Python stores it
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as exc:
        raise InvalidRequest(
            message_faults.FIELD_NOT_UNICODE(field=key, number=exc.start + 1)
        ) from None
