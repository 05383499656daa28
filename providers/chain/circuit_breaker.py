"""The circuit breaker: after several failures in a row, stops calls to a provider for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from providers.chain.callers import Callers
from providers.errors import HostExhausted, ProviderError, ProviderTimeout, ProviderUnavailable

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
        `longest_cooldown_s`. Each time the provider says that it is available (`let_one_through`),
        one call more goes through at once. Only a call that succeeds closes the circuit.

    Only ProviderUnavailable and ProviderTimeout count as failures. A refusal (key, model, quota,
    length) shows that the provider works; a cancelled call, and a fault of this machine, show
    nothing. The failures of one channel alone do not open the circuit while others call: its prompt
    may be what makes the provider fail.

    failures: how many calls failed in a row; never 0 while the circuit is open.
    ask_every_s: how often the provider is asked whether it is available, while calls wait.
    on_open: called each time it opens, with the last failure, the cool-down, and whether it opens
        again after a probe. on_wait: called each time calls begin to wait.
    on_close: called when it closes after it was open.
    """

    def __init__(
        self,
        *,
        failures: int = 5,
        cooldown_s: float = 1.0,
        longest_cooldown_s: float = 30.0,
        ask_every_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = failures
        self._first_cooldown_s = cooldown_s
        self._longest_cooldown_s = longest_cooldown_s
        self.ask_every_s = ask_every_s
        self._clock = clock
        self._callers = Callers()
        self.failures = 0
        self._failed_channel: str | None = None
        self._several_failed = False
        self._opened = 0
        self._cooldown_s = cooldown_s
        self._open_until: float | None = None
        self._lets_one_through = False
        self._probes: set[_CallGuard] = set()
        self.on_open: Callable[[ProviderError, float, bool], None] = lambda *_: None
        self.on_wait: Callable[[], None] = _nothing
        self.on_close: Callable[[], None] = _nothing

    def wait_s(self) -> float | None:
        """Return seconds until a call may go through; None if it may now.

        It is 0.0 while a probe is running.
        """
        if self._open_until is None or self._lets_one_through:
            return None
        if self._probes:
            return 0.0
        left_s = self._open_until - self._clock()
        return left_s if left_s > 0 else None

    def guard(self, channel: str) -> _CallGuard:
        """Return the context manager for one call of a channel. It records how the call ended.

        Enter it after `wait_s` returned None, with no await between.
        """
        self._callers.note(channel, self._clock())
        guard = _CallGuard(self, channel)
        if self._open_until is not None:
            self._lets_one_through = False
            self._probes.add(guard)
            self.on_wait()
        return guard

    def let_one_through(self) -> None:
        """Let the next call try at once, since the provider says that it is available."""
        self._lets_one_through = self._open_until is not None

    def statistics(self) -> CircuitStatistics:
        return CircuitStatistics(self._state(), self.failures, self._opened, self.wait_s() or 0.0)

    def record(self, error: BaseException | None, guard: _CallGuard) -> None:
        """Record the end of a call; `error` is None if it succeeded."""
        is_probe = guard in self._probes
        self._probes.discard(guard)
        if isinstance(error, (ProviderUnavailable, ProviderTimeout)):
            self._record_failure(error, guard.channel, is_probe)
        elif error is None or (
            isinstance(error, ProviderError) and not isinstance(error, HostExhausted)
        ):
            self._close()

    def _state(self) -> State:
        if self._open_until is None:
            return "closed"
        return "half_open" if self._probes or self.wait_s() is None else "open"

    def _close(self) -> None:
        if not self.failures:
            return
        was_open = self._open_until is not None
        self.failures = 0
        self._failed_channel = None
        self._several_failed = False
        self._open_until = None
        self._lets_one_through = False
        self._probes.clear()
        self._cooldown_s = self._first_cooldown_s
        if was_open:
            self.on_close()

    def _record_failure(self, error: ProviderError, channel: str, is_probe: bool) -> None:
        self.failures += 1
        self._several_failed |= self._failed_channel not in (None, channel)
        self._failed_channel = channel
        if self._open_until is None:
            if self.failures >= self._limit and not self._is_one_of_several():
                self._open(error, again=False)
        elif is_probe:
            # A failure of a call that began before the circuit opened is no news: ignored.
            self._cooldown_s = min(self._cooldown_s * 2, self._longest_cooldown_s)
            self._open(error, again=True)

    def _is_one_of_several(self) -> bool:
        """Return whether all failures are those of one channel, while others call as well."""
        return not self._several_failed and self._callers.are_several(self._clock())

    def _open(self, error: ProviderError, *, again: bool) -> None:
        self._opened += 1
        self._open_until = self._clock() + self._cooldown_s
        self._lets_one_through = False
        self.on_open(error, self._cooldown_s, again)
        self.on_wait()


class _CallGuard:
    """A context manager around a call of a channel."""

    __slots__ = ("_breaker", "channel")

    def __init__(self, breaker: CircuitBreaker, channel: str) -> None:
        self._breaker = breaker
        self.channel = channel

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        breaker = self._breaker
        if exc is not None or breaker.failures:  # else a success is no news
            breaker.record(exc, self)


def _nothing() -> None:
    pass
