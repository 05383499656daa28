"""The circuit breaker: after several failures in a row, stops calls to a provider for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from providers.errors import ProviderError, ProviderTimeout, ProviderUnavailable

State = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class CircuitStatistics:
    """The state of a circuit breaker.

    failures: failed calls in a row. opened: how often it opened in all.
    wait_s: seconds until the next call is let through.
    """

    state: State
    failures: int
    opened: int
    wait_s: float


class CircuitBreaker:
    """A circuit breaker for one provider.

    closed: all calls go through.
    open: no call goes through for `cooldown_s`.
    half_open: one call goes through, as a probe; if it fails, the cool-down doubles, up to
        `longest_cooldown_s`.

    Only ProviderUnavailable and ProviderTimeout count as failures. A refusal (key, model, quota,
    length) shows that the provider works; a cancelled call shows nothing.
    """

    def __init__(
        self,
        *,
        failures: int = 5,
        cooldown_s: float = 30.0,
        longest_cooldown_s: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = failures
        self._first_cooldown_s = cooldown_s
        self._longest_cooldown_s = longest_cooldown_s
        self._clock = clock
        self._failures = 0
        self._opened = 0
        self._cooldown_s = cooldown_s
        self._open_until: float | None = None
        self._probing = False
        self.on_open: Callable[[], None] | None = None
        self._call_guard = _CallGuard(self, probe=False)
        self._probe_guard = _CallGuard(self, probe=True)

    def wait_s(self) -> float | None:
        """Return seconds until a call may go through; None if it may now.

        It is 0.0 while a probe is running.
        """
        if self._open_until is None:
            return None
        if self._probing:
            return 0.0
        left_s = self._open_until - self._clock()
        return left_s if left_s > 0 else None

    def guard(self) -> _CallGuard:
        """Return the context manager for one call. It records how the call ended.

        Enter it after `wait_s` returned None, with no await between.
        """
        if self._open_until is None or self._probing:
            return self._call_guard
        self._probing = True
        return self._probe_guard

    def statistics(self) -> CircuitStatistics:
        return CircuitStatistics(self._state(), self._failures, self._opened, self.wait_s() or 0.0)

    def record(self, error: BaseException | None, *, probe: bool) -> None:
        """Record the end of a call; `error` is None if it succeeded."""
        if isinstance(error, (ProviderUnavailable, ProviderTimeout)):
            self._record_failure(probe)
        elif error is None or isinstance(error, ProviderError):
            self._close()
        if probe:
            self._probing = False

    def _state(self) -> State:
        if self._open_until is None:
            return "closed"
        return "half_open" if self._probing or self.wait_s() is None else "open"

    def _close(self) -> None:
        self._failures = 0
        self._open_until = None
        self._cooldown_s = self._first_cooldown_s

    def _record_failure(self, probe: bool) -> None:
        self._failures += 1
        if self._open_until is None:
            if self._failures >= self._limit:
                self._open()
        elif probe:
            # A failure of a call that began before the circuit opened is no news: ignored.
            self._cooldown_s = min(self._cooldown_s * 2, self._longest_cooldown_s)
            self._open()

    def _open(self) -> None:
        self._opened += 1
        self._open_until = self._clock() + self._cooldown_s
        if self.on_open is not None:
            self.on_open()


class _CallGuard:
    """A context manager around a call. One object serves all calls, since it has no state."""

    __slots__ = ("_breaker", "_is_probe")

    def __init__(self, circuit: CircuitBreaker, *, probe: bool) -> None:
        self._breaker = circuit
        self._is_probe = probe

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._breaker.record(exc, probe=self._is_probe)
