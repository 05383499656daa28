"""What a room is told if a provider fails: a sentence for each kind of failure."""

from __future__ import annotations

from collections.abc import Mapping

from engine.texts import durations, sentences
from engine.texts.sentence import Said, Sentence
from providers.errors import (
    AuthenticationFailed,
    ContentWithheld,
    ContextTooLong,
    EmptyAnswer,
    HostExhausted,
    IncompleteAnswer,
    ModelNotFound,
    OverBudget,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)

_SENTENCES: Mapping[type[BaseException], Sentence] = {
    ProviderUnavailable: sentences.PROVIDER_UNAVAILABLE,
    ProviderTimeout: sentences.PROVIDER_TIMEOUT,
    HostExhausted: sentences.HOST_EXHAUSTED,
    RateLimited: sentences.RATE_LIMITED,
    QuotaExhausted: sentences.QUOTA_EXHAUSTED,
    AuthenticationFailed: sentences.PROVIDER_AUTH,
    ModelNotFound: sentences.MODEL_NOT_FOUND,
    ContentWithheld: sentences.REFUSED,
    ContextTooLong: sentences.CONTEXT_TOO_LONG,
    EmptyAnswer: sentences.EMPTY_ANSWER,
    IncompleteAnswer: sentences.INCOMPLETE_ANSWER,
    ProviderError: sentences.PROVIDER_ERROR,
}


def told(error: ProviderError, provider: str) -> Said:
    """Return what a room is told; of the error's classes, the nearest one in the table counts."""
    if isinstance(error, OverBudget):
        return _told_of_budget(error)
    sentence = next(_SENTENCES[each] for each in type(error).__mro__ if each in _SENTENCES)
    return sentence(error=str(error), provider=provider)


def _told_of_budget(error: OverBudget) -> Said:
    if error.retry_after_s is None:
        return sentences.PRICE_UNKNOWN(name=error.name)
    wait = durations.shown(error.retry_after_s)
    match error.scope:
        case "user":
            return sentences.BUDGET_OF_USER(wait=wait)
        case "channel":
            return sentences.BUDGET_OF_CHANNEL(wait=wait)
        case "persona":
            return sentences.BUDGET_OF_PERSONA(name=error.name, wait=wait)
        case "provider":
            return sentences.BUDGET_OF_PROVIDER(name=error.name, wait=wait)
        case _:
            return sentences.BUDGET_OF_ALL(wait=wait)
