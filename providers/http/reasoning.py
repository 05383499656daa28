"""What of an answer is for the reader: the text, without the thinking in front of it."""

from __future__ import annotations

import re
from typing import Literal

from providers.base import Completion, Usage
from providers.errors import BadAnswer, ConnectionLost, IncompleteAnswer, ProviderError

_TAGS = ("think", "thinking", "reasoning")
# White space in front of a block is held back; more than this is no prelude to one.
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
    """Takes an answer in pieces and gives back what may be shown of it.

    Only a block that the answer begins with is thinking; a tag further on is text. A block that is
    never closed is thinking to its end.
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
        """What was held back and turned out to be text."""
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
    """An answer while it grows. The texts of `news` and `rest` joined are the completion's content.

    `finish_reason` is the provider's own word, None until it said one; `done` is True once it
    said in any other way that the answer is whole.
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
        """Take the next text of the model."""
        self._added.append(text)

    def news(self) -> str:
        """What may be shown of the texts that were added since the last time; may be empty."""
        text = "".join(self._added)
        self._added.clear()
        return self._show(self._filter.feed(text)) if text else ""

    def rest(self) -> str:
        """The last news, and what was held back, once no more text comes."""
        return self.news() + self._show(self._filter.finish())

    def completion(self) -> Completion:
        """The answer; IncompleteAnswer or BadAnswer where it is not whole, or is empty."""
        content = "".join(self._shown)
        if not (self.done or self.finish_reason):
            raise self.cut_off()
        if not content.strip():
            reason = f" (finish reason: {self.finish_reason})" if self.finish_reason else ""
            raise BadAnswer(f"{self.label} gave an empty answer{reason}")
        finish_reason = FINISH_REASONS.get((self.finish_reason or "stop").lower(), "other")
        return Completion(content, self.model, finish_reason, self.usage)

    def cut_off(self, lost: ConnectionLost | None = None) -> ProviderError:
        """The error of an answer that ended too early.

        Where nothing was shown of it yet, the error is one that another provider can make good.
        """
        partial = "".join(self._shown)
        if partial:
            return IncompleteAnswer(f"{self.label} ended its answer half-way", partial=partial)
        return lost or BadAnswer(f"{self.label} ended its answer before it began")

    def _show(self, text: str) -> str:
        if text:
            self._shown.append(text)
        return text


def usage_of(prompt_tokens: object, completion_tokens: object) -> Usage | None:
    """Usage from two numbers of which one may be missing; None where both are."""
    if type(prompt_tokens) is not int and type(completion_tokens) is not int:
        return None
    return Usage(_count(prompt_tokens), _count(completion_tokens))


def _count(tokens: object) -> int:
    return max(0, tokens) if type(tokens) is int else 0
