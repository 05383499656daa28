"""Logs what is wrong with providers: once for each kind, and once that a provider answers again."""

from __future__ import annotations

import logging

from providers.chain.call_log import facts, words
from providers.chain.misconfiguration import Misconfigured, problem
from providers.errors import ProviderError

log = logging.getLogger("rosey_llm.providers")


class TroubleLog:
    """The log of a chain and all its successors; it knows what it said of each provider.

    said: the message of the call that failed, which an error may quote; it is not logged.
    """

    def __init__(self) -> None:
        self._said: dict[str, set[str]] = {}

    @property
    def is_empty(self) -> bool:
        return not self._said

    def misconfigured(
        self, name: str, found: Misconfigured, error: ProviderError, said: str, until_then: str
    ) -> None:
        self._said.setdefault(name, set()).add(problem(error))
        log.warning(
            "Provider %(provider)s %(problem)s. %(remedy)s; until then %(until_then)s. (%(error)s)",
            {
                "event": "provider.misconfigured",
                **facts(name, error),
                "problem": found.problem,
                "remedy": found.remedy,
                "until_then": until_then,
                "error": words(error, said),
            },
        )

    def passed_over(self, name: str, error: ProviderError, said: str, by: str) -> None:
        """Log that the provider `by` answered instead."""
        known = self._said.setdefault(name, set())
        if (text := problem(error)) not in known:
            known.add(text)
            log.warning(
                "Provider %(provider)s %(problem)s; answering with %(by)s. (%(error)s)",
                {
                    "event": "provider.fallback",
                    **facts(name, error),
                    "problem": text,
                    "by": by,
                    "error": words(error, said),
                },
            )

    def failed_as_well(self, name: str, error: ProviderError, said: str) -> None:
        log.warning(
            "Provider %(provider)s failed as well: %(error)s",
            {
                "event": "provider.fallback_failed",
                **facts(name, error),
                "error": words(error, said),
            },
        )

    def answers(self, name: str) -> None:
        if self._said.pop(name, None):
            log.warning(
                "Provider %(provider)s answers again.",
                {"event": "provider.recovered", "provider": name},
            )
