"""What a room is told if a provider fails: a sentence for each kind of failure."""

from __future__ import annotations

from collections.abc import Mapping

from engine.texts import sentences
from engine.texts.sentence import Said, Sentence
from providers.errors import (
    AuthenticationFailed,
    ContentWithheld,
    ContextTooLong,
    EmptyAnswer,
    HostExhausted,
    IncompleteAnswer,
    ModelNotFound,
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
    sentence = next(_SENTENCES[each] for each in type(error).__mro__ if each in _SENTENCES)
    return sentence(error=str(error), provider=provider)
