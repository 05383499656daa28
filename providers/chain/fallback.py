"""The fallback rule: after which errors the next provider of the chain is asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from providers.base import Options, Status
from providers.errors import ContentWithheld, ModelNotFound, ProviderError

FallbackOn = Literal["passing", "any"]


def may_fall_over(error: ProviderError, options: Options, fallback_on: FallbackOn) -> bool:
    """Decide whether the next provider is asked.

    "passing": only after an error that may pass by itself; the sender gets any other one.
    "any": also if a person must change something, or the answer was withheld. But a model that the
        request named is not replaced.
    """
    if error.falls_over or fallback_on == "passing":
        return error.falls_over
    if isinstance(error, ModelNotFound) and options.model is not None:
        return False
    return error.needs_person or isinstance(error, ContentWithheld)


def could_answer(statuses: Iterable[Status], fallback_on: FallbackOn) -> bool:
    """Decide whether a chain could answer now, by the statuses of its providers in their order."""
    for status in statuses:
        if status.available:
            return True
        if status.misconfigured and fallback_on == "passing":
            return False
    return False
