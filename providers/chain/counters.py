"""What became of the calls to a provider since this process began."""

from __future__ import annotations

import asyncio
from types import TracebackType

from providers.errors import ProviderError


class CallCounters:
    """Kept by the provider's name: links come and go with the configuration, these numbers stay.

    `calls` is by result: "ok", an error's code, or "cut" where we ended the call. `retries` are
    calls made again, `fallbacks` answers given in the place of an earlier provider, `skipped`
    questions that were not put because the circuit was open, `opened` how often it did open.
    """

    __slots__ = ("calls", "fallbacks", "opened", "retries", "skipped")

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.retries = 0
        self.fallbacks = 0
        self.skipped = 0
        self.opened = 0

    def __enter__(self) -> None:
        """Around a call, with all its attempts."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is None:
            self._note("ok")
        elif isinstance(exc, ProviderError):
            self._note(exc.code)
        elif isinstance(exc, (asyncio.CancelledError, GeneratorExit)):
            self._note("cut")

    def note_retry(self, error: ProviderError) -> None:
        """A call that failed is made again."""
        self._note(error.code)
        self.retries += 1

    def note_opened(self) -> None:
        self.opened += 1

    def _note(self, result: str) -> None:
        self.calls[result] = self.calls.get(result, 0) + 1


class CountersByProvider:
    """The tallies of a chain and of all its successors, by provider's name."""

    def __init__(self) -> None:
        self._counters: dict[str, CallCounters] = {}

    def of(self, name: str) -> CallCounters:
        return self._counters.setdefault(name, CallCounters())

    def all(self) -> dict[str, CallCounters]:
        return dict(self._counters)
