"""Breaks the control marks of a model's template in texts of users, such as <|im_end|>.

A server that fills in the template takes such a mark as the control token, wherever it stands: a
message could end itself, and go on as the system. With a space in it, it is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from providers.base import Message
from providers.encoded_prompt import EncodedPrompt

BROKEN = "marks_broken"
"""The name of this change in `Completion.sent_as`."""

# What could be a mark, at each place where one could begin, and its first character.
_CANDIDATE = re.compile(r"(?=(<[^<>\n]{1,62}>|\[[^\[\]\n]{1,62}\]))(.)")
# In JSON, the list of messages ends with the first "]".
_OPENING = re.compile(rb"<|\](?!\Z)")
# Marks that many templates share; nobody writes them for another purpose.
_COMMON = re.compile(
    r"<[|\uff5c]\S+[|\uff5c]>|</?s>|<(?:bos|eos|pad|unk)>|<(?:start|end)_of_(?:turn|text|role)>"
    r"|</?SYS>|\[/?(?:INST|SYSTEM_PROMPT)\]"
)
_IN_TEMPLATE = re.compile(r"<[^<>\s{}]{1,62}>|\[/?[A-Z][A-Z0-9_]{1,60}\]")


class ControlMarks:
    """The control marks of one model: those that many share, and `known`."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = frozenset(known)

    @classmethod
    def of(cls, tokens: Iterable[str] = (), *templates: str) -> ControlMarks:
        """Return the marks of a model with these control tokens and these templates."""
        return cls([*tokens, *(mark for text in templates for mark in _IN_TEMPLATE.findall(text))])

    def broken(self, text: str) -> str:
        """Return the text with a space in each mark."""
        return _CANDIDATE.sub(self._broken_start, text)

    def break_in(self, messages: Sequence[Message]) -> EncodedPrompt:
        """Return the messages without marks, except those of the operator's system prompt.

        It is the same object if there were none.
        """
        prompt = EncodedPrompt.of(messages)
        if not _OPENING.search(prompt.encoded):
            return prompt
        safe = [self._safe(message) for message in prompt]
        return prompt if safe == list(prompt) else EncodedPrompt.of(safe)

    def _safe(self, message: Message) -> Message:
        if message.role == "system":
            return message
        return Message(message.role, self.broken(message.content))

    def _broken_start(self, match: re.Match[str]) -> str:
        mark, start = match.groups()
        is_mark = mark in self._known or _COMMON.fullmatch(mark)
        return f"{start} " if is_mark else start
