"""An event as a log call says it: a name and fields, which stay one line whatever they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

VALUE_LIMIT = 500
_BARE = re.compile(r'[^\s"=\\]+')
_PLAIN = re.compile(rf"[!#-<>-\[\]-~]{{1,{VALUE_LIMIT}}}")  # those that are ASCII


class LogEvent:
    """What a log call is given in place of a text: `log.info(Event("turn.answered", {...}))`.

    Fields without a value (None) are left out; texts longer than 500 characters are cut. As text,
    and so with any formatter, it is its name and `key=value` for each field.
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
            if type(value) is str and _PLAIN.fullmatch(value):  # nearly always, so this is the way
                words.append(f"{key}={value}")
            elif value is not None:
                words.append(f"{key}={shown(_cut(value))}")
        return " ".join(words)


def one_line(text: str) -> str:
    """`text` with everything escaped, as JSON does it, that could end a line or hide a part."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def shown(value: Any) -> str:
    """A field's value, in quotes where it would not be one word without them."""
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
    """One line of JSON. What cannot be JSON stands there as text."""
    try:
        line = orjson.dumps(values, default=str).decode()
    except TypeError:  # half of a surrogate pair, or a number too large
        line = orjson.dumps({key: one_line(str(value)) for key, value in values.items()}).decode()
    return one_line(line)
