"""Adapts a prompt and its settings to what a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from providers.base import Message
from providers.control_marks import BROKEN, ControlMarks
from providers.encoded_prompt import EncodedPrompt
from providers.http.refusals import SYSTEM, AdaptedCall

SYSTEM_IN_USER = "system_in_user"
"""The name of a moved system text in `Completion.sent_as`; others are "without_temperature"..."""


class AdaptedRequest(NamedTuple):
    """A request as it is sent.

    optional: its fields that can be left out, with their values.
    sent_as: the names of what differs from what was asked for.
    """

    body: dict[str, Any]
    optional: Mapping[str, object]
    sent_as: tuple[str, ...] = ()


class AdaptedPrompt(NamedTuple):
    """A prompt as it is sent; `optional` and `sent_as` as in `AdaptedRequest`."""

    messages: EncodedPrompt
    optional: Mapping[str, object]
    sent_as: tuple[str, ...]


def adapted_prompt(
    messages: Sequence[Message], attempt: AdaptedCall, marks: ControlMarks | None = None
) -> AdaptedPrompt:
    """Return the prompt with control marks broken, and without a system role if it is refused."""
    asked = EncodedPrompt.of(messages)
    prompt = marks.break_in(asked) if marks else asked
    sent_as = (BROKEN,) if prompt is not asked else ()
    if b'"role":"system"' not in prompt.encoded:  # within a text, the quotes have backslashes
        return AdaptedPrompt(prompt, {}, sent_as)
    if attempt.sends(SYSTEM):
        return AdaptedPrompt(prompt, {SYSTEM: None}, sent_as)
    return AdaptedPrompt(EncodedPrompt.of(system_in_user(prompt)), {}, (*sent_as, SYSTEM_IN_USER))


def without(**settings: bool) -> tuple[str, ...]:
    """Return the names of the settings that are not sent: those that are True."""
    return tuple(f"without_{name}" for name, left_out in settings.items() if left_out)


def system_in_user(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with each system text before the next user text.

    Neighbours of one role become one message, since many such models want the roles to alternate.
    """
    folded: list[Message] = []
    for message in messages:
        role = "user" if message.role == "system" else message.role
        if folded and folded[-1].role == role:
            texts = filter(None, [folded.pop().content, message.content])
            folded.append(Message(role, "\n\n".join(texts)))
        else:
            folded.append(Message(role, message.content))
    return folded
