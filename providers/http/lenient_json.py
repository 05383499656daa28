"""Reads JSON with flaws beside its strings, such as NaN, so that no flaw costs the text."""

from __future__ import annotations

import json
import re
from typing import Any

from orjson import JSONDecodeError

# A string, a bare word or number, or a comma before a closing bracket. A string that is not closed
# ends with the text: looking for its end again from each quote in it would take quadratic time.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[-+\w.]++|,(?=\s*+[}\]])', re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORDS = {"true": "true", "false": "false", "null": "null", "True": "true", "False": "false"}


def loads(text: str) -> Any:
    """Return the value of an object or a list that a strict parser refused.

    JSONDecodeError if it is broken, or is neither.
    Bare words (NaN, -Infinity, None) become null; commas before a closing bracket, line ends within
    strings, and halves of a surrogate pair do no harm.
    """
    if not text.lstrip().startswith(("{", "[")):
        raise JSONDecodeError("neither an object nor a list", text[:80], 0)
    try:
        return _without_halves(json.loads(_TOKEN.sub(_mended, text), strict=False))
    except (ValueError, RecursionError) as exc:
        raise JSONDecodeError(str(exc), text[:80], 0) from exc


def _mended(match: re.Match[str]) -> str:
    found = match[0]
    if found.startswith('"'):
        return found
    if found.startswith(","):
        return ""
    return found if _NUMBER.fullmatch(found) else _WORDS.get(found, "null")


def _without_halves(value: Any) -> Any:
    """Return the value with U+FFFD for each half of a surrogate pair, which no UTF-8 can hold."""
    match value:
        case str() if not value.isascii():
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        case list():
            return [_without_halves(item) for item in value]
        case dict():
            return {_without_halves(key): _without_halves(item) for key, item in value.items()}
    return value
