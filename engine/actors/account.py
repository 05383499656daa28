"""How an answer came about, for whoever asks later why the model said that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.actors import prompt
from engine.actors.surroundings import now_ms
from providers.base import Message
from providers.chain import Answered
from storage import persona_versions


class Account:
    """Notes of one question to the model; `details` are what history keeps of them.

    `system` is the persona's text, None where the model is not shown one.
    """

    def __init__(self, system: str | None) -> None:
        self._notes: dict[str, Any] = {"started_ms": now_ms()}
        if system is not None:
            self._notes["persona_version"] = persona_versions.version(system)

    def note_prompt(self, messages: Sequence[Message], exchanges: int) -> None:
        """What the model is shown: the last note is what it was shown in the end.

        `exchanges`: how many pairs of message and answer of the conversation are among it.
        """
        self._notes["exchanges"] = exchanges
        self._notes["prompt_digest"] = prompt.digest(messages)

    def note_answer(self, answered: Answered) -> None:
        self._notes |= {
            "waited_ms": round(answered.waited_s * 1000),
            "attempts": answered.attempts,
            "temperature": answered.temperature,
            "max_tokens": answered.max_tokens,
        }

    @property
    def details(self) -> Mapping[str, Any]:
        """Without what is not known."""
        return {key: value for key, value in self._notes.items() if value is not None}
