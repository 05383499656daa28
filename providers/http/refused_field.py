"""Finds the field of our request that an error refuses."""

from __future__ import annotations

import re

from providers.http.error_report import ErrorReport
from providers.http.prompt_length import leaves_no_room, speaks_of_length

SYSTEM_ROLE = "system"

_CAPS = ("max_tokens", "max_completion_tokens", "num_predict", "num_ctx")
_OPTIONAL = (
    *_CAPS,
    "stream_options",
    "include_usage",
    "stream",
    "temperature",
    "top_p",
    "think",
    "keep_alive",
)
# A field with a common word as its name must stand in quotes.
_IN_TEXT = re.compile(
    r"(?<![\w.])(stream_options|include_usage|max_completion_tokens|max_tokens|num_predict|num_ctx"
    r"|temperature|top_p|keep_alive)(?!\w)"
    r"|['\"`](stream|think)['\"`]",
    re.IGNORECASE,
)
_NO_STREAM = re.compile(
    r"verified to stream|(?:not|n't) support stream"
    r"|stream(?:ing)? (?:mode )?is (?:not|disabled|unsupported)",
    re.IGNORECASE,
)
_NO_THINKING = re.compile(r"does not support thinking", re.IGNORECASE)
_NO_SYSTEM = re.compile(
    r"\b(?:system|developer) (?:instruction|role|message|prompt)s?\b.{0,40}"
    r"\b(?:not|n't|un) ?(?:enabled|supported|allowed|available|permitted)"
    r"|(?:not|n't) support\w*.{0,30}\b(?:system|developer)\b"
    r"|only user.{0,40}roles? (?:are |is )?(?:supported|allowed)"
    r"|(?:unexpected|invalid|unknown|unsupported) role.{0,5}\b(?:system|developer)\b",
    re.IGNORECASE | re.DOTALL,
)
# Ours alternate, unless the template counts the system message as one of them.
_ROLES_ALTERNATE = re.compile(r"roles must alternate", re.IGNORECASE)
_OPTIONAL_SYSTEM = re.compile(r"after the optional system", re.IGNORECASE)
_NOT_KNOWN = re.compile(
    r"\b(?:extra|unknown|unexpected|unrecognized|unsupported)\b.{0,20}"
    r"\b(?:inputs?|fields?|keys?|arguments?|parameters?)\b",
    re.IGNORECASE,
)
_PROMPT = re.compile(r"\b(?:inputs?|prompts?|messages)\b", re.IGNORECASE)


def refused_field(report: ErrorReport) -> str | None:
    """Return the name of the optional field, or `SYSTEM_ROLE`; None if the error names neither."""
    field = _named(report) or _in_text(report.text)
    return None if field in _CAPS and _is_of_the_sum(report.text) else field


def _is_of_the_sum(text: str) -> bool:
    """Return whether prompt and answer together are too long, so that a shorter prompt helps."""
    if _NOT_KNOWN.search(text):  # "Extra inputs are not permitted": the inputs are fields
        return False
    return leaves_no_room(text) or (bool(_PROMPT.search(text)) and speaks_of_length(text))


def _named(report: ErrorReport) -> str | None:
    for path in report.fields:
        parts = re.split(r"[.\[\]]+", path)
        if "messages" in parts and "role" in parts:
            return SYSTEM_ROLE
        if field := next((part for part in reversed(parts) if part in _OPTIONAL), None):
            return "stream_options" if field == "include_usage" else field
    return None


def _in_text(text: str) -> str | None:
    if _NO_SYSTEM.search(text):
        return SYSTEM_ROLE
    if _ROLES_ALTERNATE.search(text) and not _OPTIONAL_SYSTEM.search(text):
        return SYSTEM_ROLE
    if _NO_STREAM.search(text):
        return "stream"
    if _NO_THINKING.search(text):
        return "think"
    found = _IN_TEXT.search(text)
    field = (found[1] or found[2]).lower() if found else None
    return "stream_options" if field == "include_usage" else field
