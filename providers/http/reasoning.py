"""Removes a model's thinking from the start of its answer."""

from __future__ import annotations

import re
from typing import Literal

_TAGS = ("think", "thinking", "reasoning")
# White space before a thinking block is held back; after more than this, no block is expected.
_PRELUDE = 256
_SPACE = " \t\n\r\f\v"

_OPENING = re.compile(rf"\s{{0,{_PRELUDE}}}<({'|'.join(_TAGS)})>", re.IGNORECASE | re.ASCII)
_OPENINGS = tuple(f"<{tag}>" for tag in _TAGS)
_LONGEST_OPENING = max(map(len, _OPENINGS))


class ReasoningFilter:
    """A filter that gets an answer in pieces and returns the text to show.

    Only a block at the start of the answer is thinking; a later tag is text. A block that is never
    closed is thinking to the end of the answer.
    """

    def __init__(self) -> None:
        self._part: Literal["start", "thinking", "gap", "text"] = "start"
        self._held = ""
        self._closing = _OPENING

    @property
    def thought(self) -> bool:
        """Whether a thinking block came."""
        return self._closing is not _OPENING

    def feed(self, text: str) -> str:
        match self._part:
            case "start":
                return self._start(text)
            case "thinking":
                return self._thinking(text)
            case "gap":
                return self._gap(text)
        return text

    def finish(self) -> str:
        """Return the text that was held back, if it is not thinking."""
        held, self._held = self._held, ""
        return held if self._part == "start" else ""

    def _start(self, text: str) -> str:
        text = self._held + text
        start = text.lstrip(_SPACE)
        if start.startswith("<") and (opening := _OPENING.match(text)):
            self._part, self._held = "thinking", ""
            self._closing = re.compile(f"</{opening[1]}>", re.IGNORECASE | re.ASCII)
            return self._thinking(text[opening.end() :])
        if len(text) - len(start) <= _PRELUDE and _begins_a_tag(start):
            self._held = text
            return ""
        self._part, self._held = "text", ""
        return text

    def _thinking(self, text: str) -> str:
        text = self._held + text
        closing = self._closing.search(text)
        if closing is None:
            self._held = text[-len(self._closing.pattern) :]
            return ""
        self._part, self._held = "gap", ""
        return self._gap(text[closing.end() :])

    def _gap(self, text: str) -> str:
        text = text.lstrip()
        if text:
            self._part = "text"
        return text


def _begins_a_tag(text: str) -> bool:
    return len(text) < _LONGEST_OPENING and any(tag.startswith(text.lower()) for tag in _OPENINGS)
