"""Counters of the calls to each provider and their results, since the process started."""

from __future__ import annotations

import asyncio
from types import TracebackType

from providers.errors import ProviderError


class CallCounters:
    """The counters of one provider name. They outlive changes of the configuration.

    calls: by result: "ok", an error's code, or "cut" if we ended the call.
    retries: calls made again after an error.
    fallbacks: answers given instead of an earlier provider.
    skipped: calls not made because the circuit was open.
    opened: how often the circuit opened.
    """

    __slots__ = ("_counting", "calls", "fallbacks", "opened", "retries", "skipped")

    def __init__(self) -> None:
        self._counting = _Counting(self)
        self.calls: dict[str, int] = {}
        self.retries = 0
        self.fallbacks = 0
        self.skipped = 0
        self.opened = 0

    def counting(self) -> _Counting:
        """Return the context manager for a call with all its retries. It counts the result."""
        return self._counting

    def note_ok(self) -> None:
        """Count a call that succeeded."""
        self.calls["ok"] = self.calls.get("ok", 0) + 1

    def note_failure(self, error: BaseException) -> None:
        """Count the end of a call with this error."""
        if isinstance(error, ProviderError):
            self._count(error.code)
        elif isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            self._count("cut")

    def note_retry(self, error: ProviderError) -> None:
        """Count a failed attempt and the retry after it."""
        self._count(error.code)
        self.retries += 1

    def note_opened(self) -> None:
        self.opened += 1

    def _count(self, result: str) -> None:
        self.calls[result] = self.calls.get(result, 0) + 1


class _Counting:
    """A context manager around a call. One object serves all calls, since it has no state."""

    __slots__ = ("_counters",)

    def __init__(self, counters: CallCounters) -> None:
        self._counters = counters

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is None:
            self._counters.note_ok()
        else:
            self._counters.note_failure(exc)


class CountersByProvider:
    """The counters of a chain and all its successors, by provider's name."""

    def __init__(self) -> None:
        self._counters: dict[str, CallCounters] = {}

    def of(self, name: str) -> CallCounters:
        return self._counters.setdefault(name, CallCounters())

    def all(self) -> dict[str, CallCounters]:
        return dict(self._counters)
