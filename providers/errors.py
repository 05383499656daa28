"""The errors of a provider: their classes, their codes, and whether to try again.

ProviderError                 code                  retry  next  person
├─ ProviderUnavailable        provider_unavailable  yes    yes   no      refused, DNS, 5xx
│  └─ ConnectionLost          provider_unavailable  lost   yes   no      lost after the request
├─ ProviderTimeout            provider_timeout      no     yes   no      no content in time
├─ HostExhausted              busy                  no     no    no      no files or memory here
├─ RateLimited                rate_limited          yes    yes   no      429
│  └─ QuotaExhausted          rate_limited          no     no    yes     429 or 402: no credit
├─ AuthenticationFailed       provider_auth         no     no    yes     401, 403
├─ ModelNotFound              model_not_found       no     no    yes     no such model
├─ ParameterRefused           provider_error        no     no    yes     it refuses what we send
│  └─ WrongAddress            provider_error        no     no    yes     404, redirect, bad proxy
├─ ContentWithheld            refused               no     no    no      a filter of the provider
├─ ContextTooLong             context_too_long      no     no    no      shorten the prompt
├─ OverBudget                 budget_spent          no     no    no      not asked: see `[budgets]`
│  └─ ProviderOverBudget      budget_spent          no     yes   no      perhaps another may
└─ BadAnswer                  provider_error        no     yes   no      empty, garbled
   ├─ EmptyAnswer             provider_error        lost   yes   no      ended before its first text
   └─ IncompleteAnswer        provider_error        no     no    no      cut off; `partial` is there

retry: the same provider is asked again; "lost": only with `retry_lost`, since the provider may
    have done the work and charged for it.
next: the chain asks the next provider. With `fallback_on = "any"` it does so as well after
    ContentWithheld and all that needs a person, except for a model that the request named.
person: it does not pass by itself. If the configuration caused it, the provider is misconfigured.

The codes are those of `llm.error`. A message is one sentence for people. It names the provider and
the HTTP status, if any ("OpenAI API error: 401 Unauthorized"), and never contains a key.
"""

from __future__ import annotations

from typing import ClassVar


class ProviderError(Exception):
    """The base of all errors of a provider.

    status: the HTTP status, if there was one.
    retry_after_s: seconds to wait before another call, if the provider said so.
    maybe_too_long: whether the prompt may be too long, though no name says so. A prompt of a few
        words is not; for another one, a call with a shorter prompt finds out.
    said: the texts in the provider's error body, for code only: they may quote the prompt.
    may_be_charged: whether the provider may have done the work and charged for it. Such a call is
        retried only with `retry_lost`.
    """

    code: ClassVar[str] = "provider_error"
    retryable: ClassVar[bool] = False
    may_be_charged: ClassVar[bool] = False
    falls_over: ClassVar[bool] = True
    maybe_too_long: bool = False
    needs_person: ClassVar[bool] = False

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s
        self.said: tuple[str, ...] = ()


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
    may_be_charged = True


class HostExhausted(ProviderError):
    """This machine lacks something that a call needs, such as file descriptors.

    It says nothing about the provider, so it never counts against one.
    """

    code = "busy"
    falls_over = False

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = 1.0
    ) -> None:
        super().__init__(message, status=status, retry_after_s=retry_after_s)


class AuthenticationFailed(ProviderError):
    code = "provider_auth"
    falls_over = False
    needs_person = True


class RateLimited(ProviderError):
    code = "rate_limited"
    retryable = True


class QuotaExhausted(RateLimited):
    retryable = False
    falls_over = False
    needs_person = True


class ModelNotFound(ProviderError):
    code = "model_not_found"
    falls_over = False
    needs_person = True


class ParameterRefused(ProviderError):
    """The provider refuses a field that we send, and also a call without it.

    field: the name of the field ("temperature"); "system" for the system role; None if unknown.
    """

    falls_over = False
    needs_person = True

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message, status=status, retry_after_s=retry_after_s)
        self.field = field


class WrongAddress(ParameterRefused):
    """The configured address, or the way to it, does not lead to the provider's API.

    A person must correct the settings; another call would end like this one.

    sure: if this is false, it may still be there.
    """

    sure = True


class ContentWithheld(ProviderError):
    """A filter of the provider withheld the answer, or refused the prompt."""

    code = "refused"
    falls_over = False


class ContextTooLong(ProviderError):
    code = "context_too_long"
    falls_over = False


class OverBudget(ProviderError):
    """The provider is not asked, since a budget of `[budgets]` is spent or a price is not known.

    scope: whose budget: "user", "channel", "persona", "provider" or "total".
    budget: its key. name: of the persona or provider; of the model, if its price is not known.
    resets_ms: when the budget starts again, in wall-clock milliseconds; None, as `retry_after_s`,
        if the price is the reason.
    """

    code = "budget_spent"
    falls_over = False

    def __init__(
        self,
        *,
        scope: str,
        budget: str,
        name: str = "",
        resets_ms: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        message = f"[budgets] {budget} is spent"
        if resets_ms is None:
            message = f"[budgets] {budget} is set, but the price of {name} is not known"
        super().__init__(message, retry_after_s=retry_after_s)
        self.scope = scope
        self.budget = budget
        self.name = name
        self.resets_ms = resets_ms


class ProviderOverBudget(OverBudget):
    """The reason is this provider's budget, or that the price of its model is not known."""

    falls_over = True


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
