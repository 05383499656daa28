"""Builds a completion from the pieces of an answer, or says why there is none."""

from __future__ import annotations

import math
from collections.abc import Collection

from providers.base import Completion, Usage
from providers.errors import (
    BadAnswer,
    ConnectionLost,
    ContentWithheld,
    EmptyAnswer,
    IncompleteAnswer,
    ProviderError,
)
from providers.http.reasoning import ReasoningFilter
from providers.invisible import is_blank

FINISH_REASONS = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
    "sensitive": "content_filter",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
}
_LOADING = ("load", "unload")  # Ollama's words
# A shorter piece can be the same as all the text before it by chance.
_LEAST_REPEAT = 16


class Draft:
    """An answer that is still growing.

    The texts of `new_text` and `last_text`, joined, are the content of `completion`.

    finish_reason: the provider's own word; None until it sends one.
    done: whether the provider marked the end of the answer in any other way.
    streamed: whether text came as a stream's deltas.
    refused: whether the text is the model's refusal to answer.
    thought, called_tool: whether the model did so, apart from its text.
    unreadable: whether something that came was no part of an answer.
    sent_as, prompt_cut: those of the completion.
    """

    def __init__(self, label: str, model: str, sent_as: Collection[str] = ()) -> None:
        self.label = label
        self.model = model
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.done = False
        self.streamed = False
        self.refused = False
        self.thought = False
        self.called_tool = False
        self.unreadable = False
        self.sent_as = tuple(sent_as)
        self.prompt_cut = False
        self._filter = ReasoningFilter()
        self._added: list[str] = []
        self._read = 0  # of `_added`
        self._shown: list[str] = []

    @property
    def begun(self) -> bool:
        """Whether any text was shown."""
        return bool(self._shown)

    def add(self, text: str) -> None:
        """Add the next text of the model."""
        self._added.append(text)

    def add_whole(self, text: str, *, sure: bool) -> None:
        """Add what a text has beyond all the text before it.

        sure: whether it is certainly the whole text so far; if not, it may also be the next piece.
        """
        if not self._added:
            self.add(text)
            return
        so_far = "".join(self._added)
        reasoning = ReasoningFilter()
        visible = reasoning.feed(so_far) + reasoning.finish()
        # The whole text may be without the thinking, or without the space before it.
        for whole, before in (
            (text, so_far),
            (text.lstrip(), so_far.lstrip()),
            (text.lstrip(), visible.lstrip()),
        ):
            if whole.startswith(before):
                self.add(whole[len(before) :])
                return
        if not sure:
            self.add(text)

    def repeats(self, text: str) -> bool:
        """Return whether a text is all the text before it again, which came in several pieces."""
        long = len(self._added) > 1 and len(text) >= _LEAST_REPEAT
        return long and text == "".join(self._added)

    def new_text(self) -> str:
        """Return the text to show of what was added since the last call; may be empty."""
        text = "".join(self._added[self._read :])
        self._read = len(self._added)
        return self._show(self._filter.feed(text)) if text else ""

    def last_text(self) -> str:
        """Return the new text and any text that was held back. Call it once, at the end."""
        return self.new_text() + self._show(self._filter.finish())

    def completion(self) -> Completion:
        """Return the answer; an error if it is incomplete, or has no text."""
        content = "".join(self._shown)
        if not (self.done or self.finish_reason):
            raise self.cut_off()
        if is_blank(content):
            raise self._no_text()
        return Completion(
            content, self.model, self._reason, self.usage, self.sent_as, self.prompt_cut
        )

    def cut_off(self, lost: ConnectionLost | None = None) -> ProviderError:
        """Return the error for an answer that ended too early.

        If no text was shown yet, the error lets the next provider answer.
        """
        partial = "".join(self._shown)
        if partial:
            problem = "broke off in the middle of its answer"
            return IncompleteAnswer(f"{self.label} {problem}", partial=partial)
        if self.unreadable:
            return self._unreadable()
        return lost or EmptyAnswer(f"{self.label} broke off before its answer began")

    @property
    def _reason(self) -> str:
        if self.refused:
            return "content_filter"
        return FINISH_REASONS.get((self.finish_reason or "stop").lower(), "other")

    def _no_text(self) -> ProviderError:
        """Return the error for an answer without text; it says why there is none."""
        if self._reason == "content_filter":
            return ContentWithheld(f"{self.label} withheld the answer: a content filter stopped it")
        if self.unreadable:
            return self._unreadable()
        thought = self.thought or self._filter.thought
        match self._reason:
            case "length" if thought:
                why = "the model thought until max_tokens; raise max_tokens or turn thinking off"
            case "length":
                why = "max_tokens was reached before any text; raise max_tokens"
            case _ if self.called_tool or self._reason == "tool_calls":
                why = "the model only called a tool"
            case _ if thought:
                why = "the model only thought"
            case "stop":
                return EmptyAnswer(f"{self.label} gave an empty answer")
            case _ if self.finish_reason in _LOADING:
                return EmptyAnswer(f"{self.label} gave an empty answer: it only loaded its model")
            case _:
                why = f"finish reason {self.finish_reason}"
        return BadAnswer(f"{self.label} gave an empty answer: {why}")

    def _unreadable(self) -> BadAnswer:
        return BadAnswer(f"{self.label} sent an answer that cannot be read")

    def _show(self, text: str) -> str:
        if text:
            self._shown.append(text)
        return text


def usage_of(
    prompt_tokens: object,
    completion_tokens: object,
    cached_tokens: object = None,
    cost_usd: object = None,
) -> Usage | None:
    """Return the usage; None if no count is a whole number. A missing one counts as 0."""
    if type(prompt_tokens) is not int and type(completion_tokens) is not int:
        return None
    prompt = _count(prompt_tokens)
    cached = min(prompt, _count(cached_tokens))
    return Usage(prompt, _count(completion_tokens), cached, _cost(cost_usd))


def _cost(cost_usd: object) -> float | None:
    """Return a cost that can be one: some servers write numbers as texts, or -1 for unknown."""
    is_cost = type(cost_usd) in (int, float) and 0 <= cost_usd < math.inf  # type: ignore[operator]
    return float(cost_usd) if is_cost else None  # type: ignore[arg-type]


def _count(tokens: object) -> int:
    return max(0, tokens) if type(tokens) is int else 0
