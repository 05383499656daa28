"""What can go wrong with a provider.

ProviderError                 code                  retry  falls over to the next provider
├─ ProviderUnavailable        provider_unavailable  yes    yes   refused, DNS, 5xx
│  └─ ConnectionLost          provider_unavailable  no     yes   lost after the request was sent
├─ ProviderTimeout            provider_timeout      no     yes   no content in time
├─ AuthenticationFailed       provider_auth         no     yes   401, 403
├─ RateLimited                rate_limited          yes    yes   429
│  └─ QuotaExhausted          rate_limited          no     yes   429 or 402 that no waiting cures
├─ ModelNotFound              model_not_found       no     yes   (not when the request named it)
├─ ContextTooLong             context_too_long      no     no    the prompt must be cut
└─ BadAnswer                  provider_error        no     yes   empty, garbled, refused
   └─ IncompleteAnswer        provider_error        no     no    cut off; `partial` is what came

The codes are those of `llm.error`. A message is one sentence for people; it names the provider and,
where there is one, the status ("OpenAI API error: 401 Unauthorized"), and never holds a key.
"""

from __future__ import annotations

from typing import ClassVar


class ProviderError(Exception):
    """Base of all failures of a provider. `status` is the HTTP status, where there was one."""

    code: ClassVar[str] = "provider_error"
    retryable: ClassVar[bool] = False
    falls_over: ClassVar[bool] = True

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class ProviderUnavailable(ProviderError):
    """The provider cannot be reached or cannot serve.

    `refused` says that the request provably never reached it.
    """

    code = "provider_unavailable"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        refused: bool = False,
    ) -> None:
        super().__init__(message, status=status, retry_after_s=retry_after_s)
        self.refused = refused


class ConnectionLost(ProviderUnavailable):
    """The connection broke after the request was sent, so the provider may have answered (and
    charged for) it: sending it again is not ours to decide."""

    retryable = False


class ProviderTimeout(ProviderError):
    """No answer, or no next piece of it, came in time."""

    code = "provider_timeout"


class AuthenticationFailed(ProviderError):
    code = "provider_auth"


class RateLimited(ProviderError):
    code = "rate_limited"
    retryable = True


class QuotaExhausted(RateLimited):
    retryable = False


class ModelNotFound(ProviderError):
    code = "model_not_found"


class ContextTooLong(ProviderError):
    code = "context_too_long"
    falls_over = False


class BadAnswer(ProviderError):
    """The provider answered, but not with a usable answer."""


class IncompleteAnswer(BadAnswer):
    """The answer ended before the provider said that it was done. `partial` is what had come."""

    falls_over = False

    def __init__(self, message: str, *, partial: str) -> None:
        super().__init__(message)
        self.partial = partial
