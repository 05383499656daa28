"""Numbers in place of words and names: some bots turn `12` into a number before they send it."""

from __future__ import annotations

import json
from typing import Any

from engine.errors import InvalidRequest
from engine.texts import message_faults
from engine.traffic.envelope import unwrapped

NAMES = ("channel_id", "channel", "username", "user", "user_id", "request_id", "correlation_id")
_NUMBERS = frozenset((int, float))  # as a value's very type: a bool is an int, too


def as_text(values: dict[str, Any], data: bytes, *, enveloped: bool = False) -> None:
    """Replace numbers among the words of `args`, and whole numbers as names, by their text.

    values: the message `data`, decoded; other values stay as they are. Raises InvalidRequest.
    enveloped: whether the message was in an envelope.
    """
    words = values.get("args")
    in_words = isinstance(words, list) and any(_is_number(word) for word in words)
    if not in_words and _NUMBERS.isdisjoint(map(type, values.values())):  # as nearly always
        return
    names = [name for name in NAMES if type(values.get(name)) in _NUMBERS]
    if not (names or in_words):
        return
    written = _as_written(data)
    if enveloped:
        written = unwrapped(written)
    if in_words:
        values["args"] = [
            text if _is_number(word) else word
            for word, text in zip(values["args"], written["args"], strict=True)
        ]
    for name in names:
        if written[name].removeprefix("-").isdecimal():
            values[name] = written[name]


def _is_number(value: object) -> bool:
    return type(value) in _NUMBERS


def _as_written(data: bytes) -> dict[str, Any]:
    """Decode a message again, each number as its text: of a long one, a float loses digits."""
    try:
        decoded: dict[str, Any] = json.loads(data.decode(), parse_int=str, parse_float=str)
    except RecursionError:
        raise InvalidRequest(message_faults.NESTED_TOO_DEEPLY()) from None
    return decoded
