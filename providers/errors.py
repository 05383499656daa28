"""The errors of a provider: their classes, their codes, and whether to try again.

ProviderError                 code                  retry  next provider
├─ ProviderUnavailable        provider_unavailable  yes    yes   refused, DNS, 5xx
│  └─ ConnectionLost          provider_unavailable  lost   yes   lost after the request was sent
├─ ProviderTimeout            provider_timeout      no     yes   no content in time
├─ HostExhausted              busy                  no     no    this machine lacks files or memory
├─ RateLimited                rate_limited          yes    yes   429
│  └─ QuotaExhausted          rate_limited          no     yes   429 or 402; waiting does not help
├─ AuthenticationFailed       provider_auth         no     yes   401, 403
├─ ModelNotFound              model_not_found       no     yes   (not if the request named it)
├─ ParameterRefused           provider_error        no     no    it refuses a field that we send
│  └─ WrongAddress            provider_error        no     no    a redirect, or a useless proxy
├─ ContentWithheld            refused               no     no    a filter of the provider
├─ ContextTooLong             context_too_long      no     no    the prompt must be shortened
└─ BadAnswer                  provider_error        no     yes   empty, garbled
   ├─ EmptyAnswer             provider_error        lost   yes   ended before its first text
   └─ IncompleteAnswer        provider_error        no     no    cut off; `partial` has its start

retry: the same provider is asked again; "lost": only with `retry_lost`, since the provider may have
charged for the call. next provider: the chain asks the next one.
The codes are those of `llm.error`. A message is one sentence for people. It names the provider and
the HTTP status, if any ("OpenAI API error: 401 Unauthorized"), and never contains a key.
"""

from __future__ import annotations

from typing import ClassVar


class ProviderError(Exception):
    """The base of all errors of a provider.

    status: the HTTP status, if there was one.
    retry_after_s: seconds to wait before another call, if the provider said so.
    may_be_charged: whether the provider may have done the work and charged for it. Such a call is
        retried only with `retry_lost`.
    """

    code: ClassVar[str] = "provider_error"
    retryable: ClassVar[bool] = False
    may_be_charged: ClassVar[bool] = False
    falls_over: ClassVar[bool] = True

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class ProviderUnavailable(ProviderError):
    """The provider cannot be reached or cannot serve.

    refused: whether it is certain that the request did not reach the provider.
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
    """The connection broke after the request was sent."""

    may_be_charged = True


class ProviderTimeout(ProviderError):
    """The provider sent no answer, or no next piece of it, in time."""

    code = "provider_timeout"


class HostExhausted(ProviderError):
    """This machine lacks something that a call needs, such as file descriptors.

    It says nothing about the provider, so it never counts against one.
    """

    code = "busy"
    falls_over = False


class AuthenticationFailed(ProviderError):
    code = "provider_auth"


class RateLimited(ProviderError):
    code = "rate_limited"
    retryable = True


class QuotaExhausted(RateLimited):
    retryable = False


class ModelNotFound(ProviderError):
    code = "model_not_found"


class ParameterRefused(ProviderError):
    """The provider refuses a field that we send, and also a call without it."""

    falls_over = False


class WrongAddress(ParameterRefused):
    """The configured address, or the way to it, does not lead to the provider's API.

    A person must correct the settings; another call would end like this one.
    """


class ContentWithheld(ProviderError):
    """A filter of the provider withheld the answer, or refused the prompt."""

    code = "refused"
    falls_over = False


class ContextTooLong(ProviderError):
    code = "context_too_long"
    falls_over = False


class BadAnswer(ProviderError):
    """The provider's answer is not usable."""


class EmptyAnswer(BadAnswer):
    """The answer ended before its first text, and nothing says that it will do so again."""

    retryable = True
    may_be_charged = True


class IncompleteAnswer(BadAnswer):
    """The answer ended too early. `partial` is the text that came before."""

    falls_over = False

    def __init__(self, message: str, *, partial: str) -> None:
        super().__init__(message)
        self.partial = partial
