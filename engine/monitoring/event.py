"""A log event with a name and fields, and the escaping that keeps every log entry on one line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

VALUE_LIMIT = 500
_BARE = re.compile(r'[^\s"=\\]+')
_PLAIN = re.compile(rf"[!#-<>-\[\]-~]{{1,{VALUE_LIMIT}}}")  # the ASCII ones of _BARE


class LogEvent:
    """An event to log in place of a text: `log.info(LogEvent("turn.answered", {...}))`.

    Fields that are None are left out; texts longer than 500 characters are cut. `str` of it, which
    any formatter uses, is the name and then `key=value` for each field.
    """

    __slots__ = ("_fields", "name")

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        self.name = name
        self._fields = fields

    @property
    def fields(self) -> dict[str, Any]:
        return {key: _cut(value) for key, value in self._fields.items() if value is not None}

    def __str__(self) -> str:
        words = [self.name]
        for key, value in self._fields.items():
            if type(value) is str and _PLAIN.fullmatch(value):  # the usual case, done fast
                words.append(f"{key}={value}")
            elif value is not None:
                words.append(f"{key}={shown(_cut(value))}")
        return " ".join(words)


def one_line(text: str) -> str:
    """Return the text with every non-printable character escaped as in JSON."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def shown(value: Any) -> str:
    """Return a field's value as text, in quotes if it is not a single word."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    text = str(value)
    if _BARE.fullmatch(text) and text.isprintable():
        return text
    return f'"{one_line(text.translate(_IN_QUOTES))}"'


_IN_QUOTES = str.maketrans({'"': '\\"', "\\": "\\\\"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escaped(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > VALUE_LIMIT:
        return f"{value[:VALUE_LIMIT]}..."
    return value


def as_json(values: Mapping[str, Any]) -> str:
    """Return one line of JSON; values that JSON does not have become texts."""
    try:
        line = orjson.dumps(values, default=str).decode()
    except TypeError:  # half a surrogate pair, or a number that is too large
        line = orjson.dumps({key: one_line(str(value)) for key, value in values.items()}).decode()
    return one_line(line)
