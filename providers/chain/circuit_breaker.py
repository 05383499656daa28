"""Leaves a provider alone for a while that has failed several times in a row."""

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
    """`failures` in a row so far; `opened` how often in all; `wait_s` until the next trial."""

    state: State
    failures: int
    opened: int
    wait_s: float


class CircuitBreaker:
    """Closed: calls go. Open: they do not, for `cooldown_s`. Half-open: one call goes, as a probe.

    A probe that fails doubles the cool-down, up to `longest_cooldown_s`. Only a provider that is
    not there or says nothing in time counts as failing; a refusal (key, model, quota, length) shows
    that it lives, and a cancelled call shows nothing.
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
        self._call = _Call(self, probe=False)
        self._probe = _Call(self, probe=True)

    def wait_s(self) -> float | None:
        """None where a call may go now; else seconds until one may (0.0 while a probe is out)."""
        if self._open_until is None:
            return None
        if self._probing:
            return 0.0
        left_s = self._open_until - self._clock()
        return left_s if left_s > 0 else None

    def call(self) -> _Call:
        """Around one call; enter it right after `wait_s` gave None, with no await between."""
        if self._open_until is None or self._probing:
            return self._call
        self._probing = True
        return self._probe

    def statistics(self) -> CircuitStatistics:
        return CircuitStatistics(self._state(), self._failures, self._opened, self.wait_s() or 0.0)

    def ended(self, error: BaseException | None, *, probe: bool) -> None:
        if error is None:
            self._alive()
        elif isinstance(error, (ProviderUnavailable, ProviderTimeout)):
            self._fault(probe)
        elif isinstance(error, ProviderError):
            self._alive()
        if probe:
            self._probing = False

    def _state(self) -> State:
        if self._open_until is None:
            return "closed"
        return "half_open" if self._probing or self.wait_s() is None else "open"

    def _alive(self) -> None:
        self._failures = 0
        self._open_until = None
        self._cooldown_s = self._first_cooldown_s

    def _fault(self, probe: bool) -> None:
        self._failures += 1
        if self._open_until is None:
            if self._failures >= self._limit:
                self._open()
        elif probe:
            # Calls that began before it opened say nothing new when they fail.
            self._cooldown_s = min(self._cooldown_s * 2, self._longest_cooldown_s)
            self._open()

    def _open(self) -> None:
        self._opened += 1
        self._open_until = self._clock() + self._cooldown_s
        if self.on_open is not None:
            self.on_open()


class _Call:
    """Any call through a circuit."""

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
        self._breaker.ended(exc, probe=self._is_probe)
