"""What may be said at all: the checks of a message's text and names, for every way in.

All raise InvalidRequest. Values are taken as `object`: a bot in process may hand over anything.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass

from engine.errors import InvalidRequest
from providers import validation
from providers.validation import Count, Temperature, ValidationError, shown

MAX_REQUEST_ID = 128


@dataclass(frozen=True, slots=True)
class Choices:
    """What a message may choose for its answer; None leaves it to persona and configuration."""

    model: str | None = None
    temperature: Temperature | None = None
    max_tokens: Count | None = None
    persona: str | None = None


def check_text(text: object, max_bytes: int) -> None:
    """InvalidRequest where a text is empty, too long or not text."""
    text = _string("message", text)
    if not text.strip():
        raise InvalidRequest("The message is empty. Send some text.")
    check_length(text, max_bytes)
    if "\0" in text:
        raise InvalidRequest("The message is not text: it holds NUL characters.")


def check_length(text: str, max_bytes: int) -> None:
    """InvalidRequest where a message is too long, whatever it asks."""
    size = _size("message", text)
    if size > max_bytes:
        raise InvalidRequest(
            f"The message is too long: {size} bytes, and {max_bytes} are allowed. Send less text."
        )


def check_name(key: str, name: object, max_bytes: int) -> None:
    """InvalidRequest where `key` (a user, a model) is no text or too long; None is no name."""
    if name is None:
        return
    text = _string(key, name)
    size = _size(key, text)
    if size > max_bytes:
        raise InvalidRequest(f"{key}: expected at most {max_bytes} bytes, got {size}.")
    if "\0" in text:  # no command line could name it, to show or to erase it
        raise InvalidRequest(f"{key}: expected text, got NUL characters in it.")


def check_channel_id(channel_id: object, max_bytes: int) -> None:
    if not _string("channel_id", channel_id).strip():
        raise InvalidRequest("channel_id: expected a channel's name, got nothing")
    check_name("channel_id", channel_id, max_bytes)


def check_choices(choices: Choices, max_bytes: int) -> None:
    """InvalidRequest where a type or a range is wrong, or a name too long."""
    try:
        validation.read(asdict(choices), Choices)
    except ValidationError as exc:
        raise InvalidRequest(str(exc)) from None
    check_name("model", choices.model, max_bytes)
    check_name("persona", choices.persona, max_bytes)


def check_request_id(request_id: object) -> None:
    text = _string("request_id", request_id)
    _size("request_id", text)
    if len(text) > MAX_REQUEST_ID:
        raise InvalidRequest(
            f"request_id: expected at most {MAX_REQUEST_ID} characters, got {len(text)}."
        )


def new_request_id() -> str:
    return uuid.uuid4().hex


def _string(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"{key}: expected a string, got {shown(value)}")
    return value


def _size(key: str, text: str) -> int:
    if text.isascii():  # known without a look at the text
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as exc:
        raise InvalidRequest(
            f"{key}: not text: character {exc.start + 1} is half of one (a lone surrogate)."
        ) from None
