"""Writes `engine/traffic/schema` from the records of the wire: `python -m tests.wire_schemas`.

Names and types of the fields come from the records, what they mean from the tables of
`docs/messages.md`, which `tests/test_messages.py` holds to the same records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import orjson
import yaml

from engine.commands.outcomes import Answer, Delta, Failure, RequestStatus
from engine.commands.validation import MAX_REQUEST_ID
from engine.config.settings import SubjectSettings
from engine.traffic.wire import ALIASES, ChatBody, RequestBody
from engine.traffic.written_numbers import NAMES
from engine.version import WIRE_VERSION
from providers.base import Usage
from providers.validation import Range

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "engine" / "traffic" / "schema"
DOCUMENT = ROOT / "docs" / "messages.md"
Schema = dict[str, Any]
# Each message: its file, its subject, its record, and its `type` if it goes out.
MESSAGES: Mapping[str, tuple[str, type, str]] = {
    "chat": ("chat", ChatBody, ""),
    "request": ("request", RequestBody, ""),
    "response": ("response", Answer, "llm_response"),
    "error": ("error", Failure, "llm_error"),
    "delta": ("stream", Delta, "llm_delta"),
    "status": ("status", RequestStatus, "llm_status"),
}
WORDS = {"type": ["string", "number"]}
PLAIN: Mapping[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def files() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file."""
    for name in MESSAGES:
        text = orjson.dumps(schema(name), option=orjson.OPT_INDENT_2).decode()
        yield f"{name}.json", f"{text}\n"
    yield "asyncapi.yaml", yaml.safe_dump(asyncapi(), sort_keys=False, width=110)


def schema(name: str) -> Schema:
    """Return the JSON Schema of a message."""
    subject_key, record, kind = MESSAGES[name]
    subject = getattr(SubjectSettings(), subject_key)
    rows = _rows(subject)
    properties = {
        field: _read(field, hint) if not kind else _of(hint)
        for field, hint in get_type_hints(record, include_extras=True).items()
    }
    made: Schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"A message on {subject}, version {WIRE_VERSION} of the wire",
        "type": "object",
    }
    if kind:
        properties = {"type": {"const": kind}, **properties}
        if record is not RequestStatus:
            properties["correlation_id"] = {"type": "string"}
        made["required"] = [each for each in properties if _is_always(rows[each])]
    else:
        made |= _required(properties)
    for field, described in properties.items():
        described["description"] = _plain(rows[field])
    return made | {"properties": properties}


def asyncapi() -> Schema:
    """Return all messages and subjects as an AsyncAPI document."""
    channels: Schema = {}
    operations: Schema = {}
    for name, (subject_key, _, kind) in MESSAGES.items():
        address = getattr(SubjectSettings(), subject_key)
        channels[name] = {
            "address": address,
            "messages": {name: {"payload": {"$ref": f"./{name}.json"}}},
        }
        operations[name] = {
            "action": "send" if kind else "receive",
            "channel": {"$ref": f"#/channels/{name}"},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "rosey-llm",
            "version": WIRE_VERSION,
            "description": "What the engine receives and sends over NATS; docs/messages.md has the"
            " rules. An outcome also goes to the reply subject of its request.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
    }


def _required(properties: Schema) -> Schema:
    """Add the aliases of an input's fields; return what must be there."""
    for alias, field in ALIASES:
        properties[alias] = dict(properties[field])
    either = [{"required": ["channel_id"]}, {"required": ["channel"]}]
    if "args" in properties:
        return {"anyOf": either}
    return {
        "required": ["action"],
        "anyOf": either,
        "if": {"properties": {"action": {"const": "reset"}}},
        "else": {"required": ["message"], "properties": {"message": {"type": "string"}}},
    }


def _read(field: str, hint: object) -> Schema:
    """Return the schema of a field that is read: null is as good as nothing."""
    if field == "args":
        return {"type": ["string", "array", "null"], "items": WORDS}
    made = _of(hint)
    if field in NAMES:
        made["type"] = ["string", "integer"]
    if field in ("request_id", "correlation_id"):
        made["maxLength"] = MAX_REQUEST_ID
    if field in ("channel_id", "action"):
        return made
    kinds = made["type"] if isinstance(made["type"], list) else [made["type"]]
    return made | {"type": [*kinds, "null"]}


def _of(hint: object) -> Schema:
    """Return the schema of a type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        (kind,) = [each for each in inner if each is not NoneType]
        return _of(kind)
    if origin is Annotated:
        made = _of(inner[0])
        for bound in inner[1:]:
            if isinstance(bound, Range):
                limits = {"minimum": bound.least, "maximum": bound.most}
                made |= {key: value for key, value in limits.items() if value is not None}
        return made
    if origin is tuple:
        return {"type": "array", "items": _of(inner[0])}
    if origin is Literal:
        return {"type": "string", "enum": list(inner)}
    if origin is tuple:
        return {"type": "array", "items": _of(inner[0])}
    if hint is Usage:
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        counts = {name: {"type": "integer", "minimum": 0} for name in names}
        counts["cached_tokens"] = {"type": "integer", "minimum": 0}
        counts["cost_usd"] = {"type": "number", "minimum": 0}
        return {"type": "object", "required": list(names), "properties": counts}
    return {"type": PLAIN[hint]}


def _rows(subject: str) -> dict[str, str]:
    section = DOCUMENT.read_text().split(f"\n## `{subject}`\n")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", section, re.MULTILINE))
    return rows | {alias: f"another name of {name}" for alias, name in ALIASES}


def _is_always(row: str) -> bool:
    """Return whether the table says that the field is always there."""
    first, *more = row.split(" | ")
    return first.strip() == "always" if more else not re.search(r"else omitted|if it gave", row)


def _plain(row: str) -> str:
    """Return the last cell of a row, without links and quotes of code."""
    text = re.sub(r"\[([^]]*)]\([^)]*\)", r"\1", row.split(" | ")[-1])
    return text.replace("`", "").replace(" (above)", "").replace(" (below)", "").strip()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in files():
        (FOLDER / name).write_text(text, encoding="utf-8")
