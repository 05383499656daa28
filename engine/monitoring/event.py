"""The event of a log entry, its name and fields, and the escaping that keeps an entry on one line.

Every log call of ours gives the logger one mapping: `event`, and the fields, some of which the
sentence names. This needs nothing of ours, so that `providers` and `storage` can do it, too:

    log.warning("The database %(path)s is full.", {"event": "storage.full", "path": path})
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import orjson

VALUE_LIMIT = 500
FOREIGN = "library.logged"  # the event of every entry that a library logs
_BARE = re.compile(r'[^\s"=\\]+')
_PLAIN = re.compile(rf"[!#-<>-\[\]-~]{{1,{VALUE_LIMIT}}}")  # the ASCII ones of _BARE


class LogEvent:
    """An event without a sentence, for the turn log: `log.info(LogEvent("turn.answered", {...}))`.

    Fields that are None are left out; texts longer than 500 characters are cut. `str` of it, which
    any formatter uses, is the name and then `key=value` for each field.
    """

    __slots__ = ("_fields", "name")

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        self.name = name
        self._fields = fields

    @property
    def fields(self) -> dict[str, Any]:
        return _shortened(self._fields)

    def __str__(self) -> str:
        words = [self.name]
        for key, value in self._fields.items():
            if type(value) is str and _PLAIN.fullmatch(value):  # the usual case, done fast
                words.append(f"{key}={value}")
            elif value is not None:
                words.append(f"{key}={shown(_cut(value))}")
        return " ".join(words)


def event_of(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """Return the name and the fields of a log entry's event."""
    if isinstance(record.msg, LogEvent):
        return record.msg.name, record.msg.fields
    given = record.args
    # A library may log a mapping of strangers', which must not name an event of ours.
    if not (record.name.startswith("rosey_llm.") and isinstance(given, Mapping)):
        return FOREIGN, {}
    fields = _shortened(given)
    return str(fields.pop("event", FOREIGN)), fields


def unnamed(record: logging.LogRecord, fields: Mapping[str, Any]) -> str:
    """Return the fields that the entry's sentence does not name, as ` key=value` for each."""
    sentence = str(record.msg)
    return "".join(
        f" {key}={shown(value)}" for key, value in fields.items() if f"%({key})" not in sentence
    )


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


def _shortened(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _cut(value) for key, value in fields.items() if value is not None}


def _cut(value: Any) -> Any:
    if isinstance(value, BaseException | PurePath):
        value = str(value)
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
