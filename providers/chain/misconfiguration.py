"""What is wrong with a provider, in words, and whether a person must change its configuration."""

from __future__ import annotations

from typing import NamedTuple

from providers.base import LLMProvider, Options
from providers.errors import (
    AuthenticationFailed,
    ContentWithheld,
    ModelNotFound,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)

# The first class that fits counts.
_PROBLEMS: dict[type[ProviderError], str] = {
    ProviderUnavailable: "is not available",
    ProviderTimeout: "did not answer in time",
    QuotaExhausted: "has no credit or quota left",
    RateLimited: "limits the rate of calls",
    AuthenticationFailed: "refuses its key",
    ModelNotFound: "does not have the model",
    ContentWithheld: "withheld its answer",
}


class Misconfigured(NamedTuple):
    """What a person must change before a provider can answer.

    code: the code of `llm.error` that its calls end with.
    problem: such as "refuses its key (401)".
    remedy: what to do, such as "Set providers.openai.api_key". Neither has words of the provider.
    """

    code: str
    problem: str
    remedy: str


class Misconfiguration:
    """Knows whether a provider is misconfigured, by the calls with its configured settings.

    What a request or a persona names (model, temperature, length) shows nothing about the
    configuration, so only calls without it make a provider misconfigured.
    """

    def __init__(self, provider: LLMProvider) -> None:
        self._provider = provider
        self._error: ProviderError | None = None
        self._told: set[type[ProviderError]] = set()

    @property
    def found(self) -> bool:
        return self._error is not None

    def note_failure(self, error: ProviderError, options: Options) -> Misconfigured | None:
        """Return what to do, if the failure shows a misconfiguration of a kind that is new."""
        if not error.needs_person or not self._are_configured(options):
            return None
        self._error = error
        if type(error) in self._told:
            return None
        self._told.add(type(error))
        return self.describe()

    def note_answer(self, options: Options) -> None:
        # Any answer proves the key. Only one with the same settings proves them.
        if isinstance(self._error, AuthenticationFailed) or self._are_configured(options):
            self._error = None
            self._told.clear()

    def describe(self) -> Misconfigured | None:
        """Return what to do; None if the provider is not misconfigured."""
        error = self._error
        if error is None:
            return None
        status = f" ({error.status})" if error.status else ""
        return Misconfigured(
            error.code, f"{problem(error)}{status}", _remedy(error, self._provider)
        )

    def _are_configured(self, options: Options) -> bool:
        return self._provider.settled(options) == self._provider.settled(Options())


def problem(error: ProviderError) -> str:
    """Return what a failed provider does, such as "is not available"."""
    for cls, text in _PROBLEMS.items():
        if isinstance(error, cls):
            return text
    return "cannot be used as it is configured" if error.needs_person else "gave no usable answer"


def _remedy(error: ProviderError, provider: LLMProvider) -> str:
    table = f"providers.{provider.name}"
    match error:
        case AuthenticationFailed():
            return f"Set {table}.api_key{_key_variable(provider)}"
        case QuotaExhausted():
            return f"Add credit to the account of {table}, or raise its limit"
        case ModelNotFound():
            model = provider.config.default_model
            return f'Set {table}.default_model (now "{model}") to a model that it has'
    return f"Correct [{table}] (`rosey-llm check` tests it)"


def _key_variable(provider: LLMProvider) -> str:
    """Return " or <environment variable>", if the provider's key may come from one.

    The settings use the variable only for the default address.
    """
    variable = getattr(provider, "key_variable", "")
    address = getattr(provider.config, "base_url", None)
    is_default = address == getattr(provider.Config(), "base_url", None)
    return f" or {variable}" if variable and is_default else ""
