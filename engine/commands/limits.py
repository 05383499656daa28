"""What may be said at all: the checks of a message's text and names, for every way in."""

from __future__ import annotations

import uuid

from engine.errors import InvalidRequest

MAX_REQUEST_ID = 128


def check_text(text: str, max_bytes: int) -> None:
    """InvalidRequest where a text is empty, too long or not text."""
    if not text.strip():
        raise InvalidRequest("The message is empty. Send some text.")
    check_length(text, max_bytes)
    if "\0" in text:
        raise InvalidRequest("The message is not text: it holds NUL characters.")


def check_length(text: str, max_bytes: int) -> None:
    """InvalidRequest where a message is too long, whatever it asks."""
    size = _size(text)
    if size > max_bytes:
        raise InvalidRequest(
            f"The message is too long: {size} bytes, and {max_bytes} are allowed. Send less text."
        )


def check_name(key: str, name: str | None, max_bytes: int) -> None:
    """InvalidRequest where what stands under `key` (a channel, a user, a model) is too long."""
    size = _size(name or "")
    if size > max_bytes:
        raise InvalidRequest(f"{key}: expected at most {max_bytes} bytes, got {size}.")


def check_request_id(request_id: str) -> None:
    if len(request_id) > MAX_REQUEST_ID:
        raise InvalidRequest(
            f"request_id: expected at most {MAX_REQUEST_ID} characters, got {len(request_id)}."
        )


def new_request_id() -> str:
    return uuid.uuid4().hex


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))
