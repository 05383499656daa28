"""Logs what is wrong with providers: once for each kind, and once that a provider answers again."""

from __future__ import annotations

import logging

from providers.chain.misconfiguration import Misconfigured, problem
from providers.errors import ContentWithheld, ProviderError

log = logging.getLogger("rosey_llm.providers")


class TroubleLog:
    """The log of a chain and all its successors; it knows what it said of each provider."""

    def __init__(self) -> None:
        self._said: dict[str, set[str]] = {}

    @property
    def is_empty(self) -> bool:
        return not self._said

    def misconfigured(
        self, name: str, found: Misconfigured, error: ProviderError, until_then: str
    ) -> None:
        self._said.setdefault(name, set()).add(problem(error))
        log.warning(
            "Provider %s %s. %s; until then %s. (%s)",
            *(name, found.problem, found.remedy, until_then, error),
        )

    def passed_over(self, name: str, error: ProviderError, by: str) -> None:
        """Log that the provider `by` answered instead."""
        said = self._said.setdefault(name, set())
        if (text := problem(error)) not in said:
            said.add(text)
            log.warning("Provider %s %s; answering with %s. (%s)", name, text, by, _words(error))

    def failed_as_well(self, name: str, error: ProviderError) -> None:
        log.warning("Provider %s failed as well: %s", name, _words(error))

    def answers(self, name: str) -> None:
        if self._said.pop(name, None):
            log.info("Provider %s answers again.", name)


def _words(error: ProviderError) -> str:
    # A filter may quote the message, and messages are logged only by the turn log.
    return error.code if isinstance(error, ContentWithheld) else str(error)
