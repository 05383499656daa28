"""Checks messages that a test sees against the published schemas."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fastjsonschema
import orjson

SCHEMAS = Path(__file__).parents[2] / "engine" / "traffic" / "schema"
NAMES = {"llm_response": "response", "llm_error": "error", "llm_delta": "delta"} | {
    "llm_status": "status"
}


@functools.cache
def validator(name: str, *, closed: bool = False) -> Callable[[Any], Any]:
    """Return what raises JsonSchemaException for a message that is not valid.

    closed: whether a field that the schema does not name is an error, too.
    """
    schema = orjson.loads((SCHEMAS / f"{name}.json").read_bytes())
    if closed:
        schema["additionalProperties"] = False
    check: Callable[[Any], Any] = fastjsonschema.compile(schema)
    return check


def check_sent(message: Mapping[str, Any]) -> None:
    """Raise JsonSchemaException if the engine should not have sent this."""
    if name := NAMES.get(message.get("type", "")):
        validator(name, closed=True)(message)


def is_valid(name: str, message: object) -> bool:
    """Return whether a message that goes in is valid."""
    try:
        validator(name)(message)
    except fastjsonschema.JsonSchemaException:
        return False
    return True


for _name in NAMES.values():  # now: some tests take all free files away
    validator(_name, closed=True)
