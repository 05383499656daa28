"""Removes a model's thinking from the start of its answer and builds the completion."""

from __future__ import annotations

import re
from typing import Literal

from providers.base import Completion, Usage
from providers.errors import BadAnswer, ConnectionLost, EmptyAnswer, IncompleteAnswer, ProviderError

_TAGS = ("think", "thinking", "reasoning")
# White space before a thinking block is held back; after more than this, no block is expected.
_PRELUDE = 256
_SPACE = " \t\n\r\f\v"

_OPENING = re.compile(rf"\s{{0,{_PRELUDE}}}<({'|'.join(_TAGS)})>", re.IGNORECASE | re.ASCII)
_OPENINGS = tuple(f"<{tag}>" for tag in _TAGS)
_LONGEST_OPENING = max(map(len, _OPENINGS))

FINISH_REASONS = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


class ReasoningFilter:
    """A filter that gets an answer in pieces and returns the text to show.

    Only a block at the start of the answer is thinking; a later tag is text. A block that is never
    closed is thinking to the end of the answer.
    """

    def __init__(self) -> None:
        self._part: Literal["start", "thinking", "gap", "text"] = "start"
        self._held = ""
        self._closing = _OPENING

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


class Draft:
    """An answer that is still growing.

    The texts of `new_text` and `last_text`, joined, are the content of `completion`.

    finish_reason: the provider's own word; None until it sends one.
    done: whether the provider marked the end of the answer in any other way.
    """

    def __init__(self, label: str, model: str) -> None:
        self.label = label
        self.model = model
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.done = False
        self._filter = ReasoningFilter()
        self._added: list[str] = []
        self._shown: list[str] = []

    def add(self, text: str) -> None:
        """Add the next text of the model."""
        self._added.append(text)

    def new_text(self) -> str:
        """Return the text to show of what was added since the last call; may be empty."""
        text = "".join(self._added)
        self._added.clear()
        return self._show(self._filter.feed(text)) if text else ""

    def last_text(self) -> str:
        """Return the new text and any text that was held back. Call it once, at the end."""
        return self.new_text() + self._show(self._filter.finish())

    def completion(self) -> Completion:
        """Return the answer; IncompleteAnswer or BadAnswer if it is incomplete or empty."""
        content = "".join(self._shown)
        if not (self.done or self.finish_reason):
            raise self.cut_off()
        if not content.strip():
            reason = f" (finish reason: {self.finish_reason})" if self.finish_reason else ""
            raise BadAnswer(f"{self.label} gave an empty answer{reason}")
        finish_reason = FINISH_REASONS.get((self.finish_reason or "stop").lower(), "other")
        return Completion(content, self.model, finish_reason, self.usage)

    def cut_off(self, lost: ConnectionLost | None = None) -> ProviderError:
        """Return the error for an answer that ended too early.

        If no text was shown yet, the error lets the next provider answer.
        """
        partial = "".join(self._shown)
        if partial:
            problem = "broke off in the middle of its answer"
            return IncompleteAnswer(f"{self.label} {problem}", partial=partial)
        return lost or EmptyAnswer(f"{self.label} broke off before its answer began")

    def _show(self, text: str) -> str:
        if text:
            self._shown.append(text)
        return text


def usage_of(prompt_tokens: object, completion_tokens: object) -> Usage | None:
    """Return the usage; None if neither value is a whole number. A missing one counts as 0."""
    if type(prompt_tokens) is not int and type(completion_tokens) is not int:
        return None
    return Usage(_count(prompt_tokens), _count(completion_tokens))


def _count(tokens: object) -> int:
    return max(0, tokens) if type(tokens) is int else 0
