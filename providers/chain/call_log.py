"""Logs what happens to the calls of a provider: retries, and a circuit that opens or closes."""

from __future__ import annotations

import logging
from typing import Any

from providers import origin
from providers.chain.misconfiguration import problem
from providers.errors import ContentWithheld, ProviderError
from providers.quotes import without_quote

log = logging.getLogger("rosey_llm.providers")


def facts(provider: str, error: ProviderError) -> dict[str, Any]:
    """Return the fields that every line about a failed call has."""
    return {
        "provider": provider,
        "code": error.code,
        "status": error.status,
        **origin.named(),
    }


def words(error: ProviderError, said: str) -> str:
    """Return an error without the message `said`: messages are logged only by the turn log."""
    return error.code if isinstance(error, ContentWithheld) else without_quote(str(error), said)


def retry(provider: str, error: ProviderError, said: str, attempt: int, wait_s: float) -> None:
    """Log that a call is made again after `wait_s`; attempt: its number, from 2."""
    log.info(
        "Provider %(provider)s %(problem)s; attempt %(attempt)d follows in %(wait_s)g s.",
        {
            "event": "provider.retry",
            **facts(provider, error),
            "problem": problem(error),
            "attempt": attempt,
            "wait_s": round(wait_s, 1),
            "error": words(error, said),
        },
    )


def circuit_opened(provider: str, error: ProviderError, failures: int, wait_s: float) -> None:
    log.warning(
        "Provider %(provider)s %(problem)s: %(failures)d calls failed in a row. It is not called"
        " for %(wait_s)g s.",
        {
            "event": "provider.circuit_opened",
            **facts(provider, error),
            "problem": problem(error),
            "failures": failures,
            "wait_s": wait_s,
        },
    )


def probe_failed(provider: str, error: ProviderError, wait_s: float) -> None:
    log.info(
        "Provider %(provider)s still %(problem)s. It is not called for %(wait_s)g s.",
        {
            "event": "provider.probe_failed",
            **facts(provider, error),
            "problem": problem(error),
            "wait_s": wait_s,
        },
    )


def circuit_closed(provider: str) -> None:
    log.warning(
        "The circuit of provider %(provider)s is closed: it is called again.",
        {"event": "provider.circuit_closed", "provider": provider, **origin.named()},
    )
