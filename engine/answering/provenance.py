"""The details that history keeps of an answer: what the model was shown, and how it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.answering import prompt, prompt_forms
from engine.clock import now_ms
from engine.config.personas import Persona
from providers.chain.chain import Answered
from providers.encoded_prompt import EncodedPrompt
from storage.hash_chain import new_salt


class Provenance:
    """A record of how one answer was made; `details` has what is known so far.

    persona: the persona whose prompt the model is shown; None if it is shown none.
    hint_version: that of the channel rule's hint; None if the model is shown none.
    is_chosen: whether the channel had chosen the model that is asked first.
    prompt: what the model was shown last; None before that.
    prompt_salt: the key of its digest; None before that.
    """

    def __init__(
        self, persona: Persona | None, hint_version: str | None = None, *, is_chosen: bool = False
    ) -> None:
        self.prompt: EncodedPrompt | None = None
        self.prompt_salt: bytes | None = None
        self._details: dict[str, Any] = {"started_ms": now_ms()}
        self._asked: list[str] = []
        if persona is not None:
            self._details["persona_version"] = persona.version
        if hint_version is not None:
            self._details["hint_version"] = hint_version
        if is_chosen:
            self._details["model_from"] = "channel"

    def note_asked(self, provider: str) -> None:
        """Note that this provider is given the prompt, whether it answers or not."""
        if provider not in self._asked:
            self._asked.append(provider)

    def note(self, **details: Any) -> None:
        """Note more details, each by its key."""
        self._details |= details

    def note_prompt(self, messages: EncodedPrompt, exchanges: int) -> None:
        """Note the prompt; a later call replaces it (the prompt was made shorter).

        exchanges: the number of earlier pairs of message and answer in it.
        """
        self.prompt = messages
        self._details["prompt_form"] = prompt_forms.CURRENT
        self._details["exchanges"] = exchanges
        self.prompt_salt = new_salt()
        self._details["prompt_digest"] = prompt.digest(messages, self.prompt_salt)

    def note_answer(self, answered: Answered) -> None:
        details = self._details
        details["waited_ms"] = round(answered.waited_s * 1000)
        details["attempts"] = answered.attempts
        if answered.temperature is not None:
            details["temperature"] = answered.temperature
        if answered.max_tokens is not None:
            details["max_tokens"] = answered.max_tokens
        if answered.completion.sent_as:
            details["sent_as"] = list(answered.completion.sent_as)
        if answered.completion.prompt_cut:
            details["prompt_cut"] = True

    def details(self, provider: str | None) -> Mapping[str, Any]:
        """Return what is known; `provider` is the one that the row names.

        A copy: an abandoned task may still add to it.
        """
        if self._asked != [provider]:
            return {**self._details, "asked": list(self._asked)}
        return dict(self._details)
