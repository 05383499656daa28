import asyncio
from typing import Any

import pytest

from providers.chain.circuit_breaker import CircuitBreaker, CircuitStatistics
from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ConnectionLost,
    ContextTooLong,
    IncompleteAnswer,
    ModelNotFound,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(failures=3, cooldown_s=30, longest_cooldown_s=100, clock=clock)


def fail(circuit: CircuitBreaker, error: BaseException | None = None) -> None:
    error = error or ProviderUnavailable("gone")
    with pytest.raises(type(error)), circuit.guard():
        raise error


def opened(circuit: CircuitBreaker) -> None:
    for _ in range(3):
        fail(circuit)


def test_it_opens_after_so_many_failures_in_a_row(circuit: CircuitBreaker) -> None:
    fail(circuit)
    fail(circuit, ProviderTimeout("late"))
    assert circuit.wait_s() is None
    fail(circuit, ConnectionLost("lost"))
    assert circuit.wait_s() == 30
    assert circuit.statistics() == CircuitStatistics("open", 3, 1, 30)


def test_a_success_resets_the_count(circuit: CircuitBreaker) -> None:
    for _ in range(5):
        fail(circuit)
        fail(circuit)
        with circuit.guard():
            pass
    assert circuit.statistics() == CircuitStatistics("closed", 0, 0, 0)


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationFailed("key"),
        RateLimited("slow"),
        QuotaExhausted("paid"),
        ModelNotFound("model"),
        ContextTooLong("long"),
        BadAnswer("odd"),
        IncompleteAnswer("cut", partial="a"),
        asyncio.CancelledError(),
        GeneratorExit(),
        ValueError("a defect of ours"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_never_open_it(circuit: CircuitBreaker, error: BaseException) -> None:
    for _ in range(20):
        fail(circuit, error)
    assert circuit.statistics() == CircuitStatistics("closed", 0, 0, 0)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit()])
def test_a_cancelled_call_does_not_change_the_count(
    circuit: CircuitBreaker, error: BaseException
) -> None:
    fail(circuit)
    fail(circuit)
    fail(circuit, error)
    fail(circuit)
    assert circuit.statistics().state == "open"


def test_after_the_cooldown_one_probe_goes_and_closes_it(
    circuit: CircuitBreaker, clock: Clock
) -> None:
    opened(circuit)
    clock.now_s += 29
    assert circuit.wait_s() == 1
    clock.now_s += 1
    assert circuit.wait_s() is None
    assert circuit.statistics().state == "half_open"
    with circuit.guard():
        assert circuit.wait_s() == 0
        assert circuit.statistics().state == "half_open"
    assert circuit.statistics() == CircuitStatistics("closed", 0, 1, 0)


def test_each_failed_probe_doubles_the_cooldown_up_to_the_longest(
    circuit: CircuitBreaker, clock: Clock
) -> None:
    opened(circuit)
    waits = []
    for _ in range(5):
        wait_s = circuit.wait_s()
        assert wait_s is not None
        waits.append(wait_s)
        clock.now_s += wait_s
        fail(circuit)
    assert waits == [30, 60, 100, 100, 100]
    with circuit.guard():
        pass
    opened(circuit)
    assert circuit.wait_s() == 30


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit(), KeyError("ours")])
def test_after_a_cancelled_probe_another_one_may_go(
    circuit: CircuitBreaker, clock: Clock, error: BaseException
) -> None:
    opened(circuit)
    clock.now_s += 30
    fail(circuit, error)
    assert circuit.wait_s() is None
    fail(circuit)
    assert circuit.wait_s() == 60


@pytest.mark.parametrize("error", [AuthenticationFailed("key"), RateLimited("slow")])
def test_a_refused_probe_shows_that_the_provider_works(
    circuit: CircuitBreaker, clock: Clock, error: ProviderError
) -> None:
    opened(circuit)
    clock.now_s += 30
    fail(circuit, error)
    assert circuit.statistics().state == "closed"


def test_failures_of_calls_that_began_before_it_opened_do_not_prolong_the_cooldown(
    circuit: CircuitBreaker, clock: Clock
) -> None:
    calls: list[Any] = [circuit.guard() for _ in range(6)]
    for call in calls:
        call.__enter__()
    error = ProviderUnavailable("gone")
    for call in calls:
        clock.now_s += 1
        call.__exit__(type(error), error, None)
    assert circuit.wait_s() == 27
    assert circuit.statistics().opened == 1
