"""Reads the body of a provider's error: its sentence and its names, wherever providers put them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

_DEEPEST = 6
_MOST_OBJECTS = 40
_LONGEST_TEXT = 20_000

# In the order in which a sentence is made of them.
_SENTENCES = (
    "error",
    "errors",
    "title",
    "message",
    "Message",
    "msg",
    "error_message",
    "errorMessage",
    "error_msg",
    "detail",
    "error_description",
    "description",
    "metadata",
    "raw",
)
_CONTAINERS = frozenset(_SENTENCES) | {
    "details",
    "innererror",
    "availability",
    "headers",
    "fieldViolations",
    "violations",
    "provider_specific_fields",
}
_NAMES = ("code", "type", "__type", "status", "reason", "quotaId")
_FIELDS = ("param", "loc", "field", "parameter")
_ECHOES = frozenset({"input", "flagged_input", "prompt", "messages", "content", "body", "request"})

# A tag at the start; "<LM Studio error> The prompt ..." is none.
_MARKUP = re.compile(
    r"\s*<(?:[!?]|\w+\s*/?>|\w+\s+[\w-]+=)|[^{]{0,2000}<(?:!doctype|html|body)\b", re.IGNORECASE
)
_EVENT = re.compile(r"\s*(?:event:.*\s+)?data:\s*")
_JSON_START = re.compile(r"[\[{]")
_CUT_PAIR = re.compile(r'"(\w+)"\s*:\s*"((?:[^"\\]|\\.)*)("|\\?$)')


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """The parts of an error's body that say something.

    text: the provider's sentences; "" if there are none, or only markup.
    names: its machine-readable names in lower case, the most specific first.
    fields: the fields of the request that it names, such as "messages.0.role".
    status: the HTTP status that it names.
    objects: its JSON objects, the outermost first.
    """

    text: str
    names: tuple[str, ...]
    fields: tuple[str, ...]
    status: int | None
    objects: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, body: object) -> ErrorReport:
        """Read a body: JSON of any shape, or text."""
        if isinstance(body, str):
            body = _from_text(body)
        objects = tuple(islice(_objects(body), _MOST_OBJECTS))
        return cls(
            text=(_sentence(body) or _any_sentence(body))[:_LONGEST_TEXT],
            names=tuple(_names(objects)),
            fields=tuple(_fields(objects)),
            status=_status(objects),
            objects=objects,
        )


def as_dict(value: object) -> dict[str, Any]:
    """Return `value` if it is a JSON object, else {}."""
    return value if isinstance(value, dict) else {}


def decode_body(body: bytes) -> object:
    """Return a body's JSON, or its text if it is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


def _from_text(text: str) -> object:
    """Return the JSON in a text, with the text before it; else the text; "" for markup."""
    if _MARKUP.match(text):
        return ""
    if event := _EVENT.match(text):
        text = text[event.end() :]
    start = _JSON_START.search(text)
    if start is None:
        return text[:_LONGEST_TEXT]
    before, rest = text[: start.start()].rstrip(" :-\n"), text[start.start() :].rstrip()
    found: object = None
    with suppress(orjson.JSONDecodeError):
        found = orjson.loads(rest)
    if found is None and not before:
        found = _from_cut(rest)
    first = found[0] if found and isinstance(found, list) else found
    if not isinstance(first, dict) or not _CONTAINERS.intersection(first):
        return text[:_LONGEST_TEXT]
    return [before, found] if before else found


def _from_cut(text: str) -> dict[str, str]:
    """Return the texts in JSON that was cut off; of several with one key, the first."""
    found: dict[str, str] = {}
    for match in _CUT_PAIR.finditer(text[:_LONGEST_TEXT]):
        value = match[2]
        with suppress(orjson.JSONDecodeError):
            value = str(orjson.loads(f'"{value}"'))
        found.setdefault(match[1], value)
    return found


def _objects(value: object, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the objects that describe the error, the outermost first."""
    if depth > _DEEPEST:
        return
    if isinstance(value, str) and depth:
        value = _from_text(value)
    if isinstance(value, list):
        for part in value[:_MOST_OBJECTS]:
            yield from _objects(part, depth + 1)
    elif isinstance(value, dict):
        yield value
        for key, part in value.items():
            if key in _CONTAINERS:
                yield from _objects(part, depth + 1)


def _sentence(value: object, depth: int = 0) -> str:
    """Return the sentences in a value; those of a list with semicolons between."""
    if depth > _DEEPEST:
        return ""
    if isinstance(value, str):
        inner = _from_text(value)
        return " ".join(inner.split()) if isinstance(inner, str) else _sentence(inner, depth + 1)
    if isinstance(value, list):
        parts = [_sentence(part, depth + 1) for part in value[:_MOST_OBJECTS]]
        texts = [isinstance(part, str) for part in value]
        return (": " if texts == [True, False] else "; ").join(_distinct(parts))
    if not isinstance(value, dict):
        return ""
    keys = [key for key in _SENTENCES if value.get(key)]
    parts = _distinct([_sentence(value[key], depth + 1) for key in keys])
    if not parts and value.get("details"):
        parts = [_sentence(value["details"], depth + 1)]
    # FastAPI: one object for each wrong field.
    return ": ".join(parts) + (f" {value['loc']}" if parts and value.get("loc") else "")


def _distinct(parts: list[str]) -> list[str]:
    """Return the parts that are not empty and not within an earlier one."""
    kept: list[str] = []
    for part in parts:
        if part and not any(part in earlier for earlier in kept):
            kept.append(part)
    return kept


def _any_sentence(value: object, depth: int = 0) -> str:
    """Return the first text with a space in it, for a body whose keys we do not know."""
    if isinstance(value, str):
        return " ".join(value.split()) if " " in value.strip() else ""
    if depth > _DEEPEST or not isinstance(value, (dict, list)):
        return ""
    if isinstance(value, dict):  # but never what we sent
        value = [part for key, part in value.items() if key not in _ECHOES]
    return next(filter(None, (_any_sentence(part, depth + 1) for part in value)), "")


def _names(objects: tuple[dict[str, Any], ...]) -> Iterator[str]:
    if any("flagged_input" in found for found in objects):
        yield "flagged_input"
    for key in ("error_type", *_NAMES):
        for found in objects:
            if isinstance(name := found.get(key), str):
                yield name.lower()


def _fields(objects: tuple[dict[str, Any], ...]) -> Iterator[str]:
    for found in objects:
        for key in _FIELDS:
            value = found.get(key)
            if isinstance(value, list):
                value = ".".join(str(part) for part in value)
            if isinstance(value, str) and value:
                yield value


def _status(objects: tuple[dict[str, Any], ...]) -> int | None:
    for found in objects:
        for key in ("http_status", "status_code", "code", "status"):
            number = found.get(key)
            with suppress(TypeError, ValueError, OverflowError):
                if not isinstance(number, bool) and 400 <= int(number or 0) <= 599:
                    return int(number or 0)
    return None
