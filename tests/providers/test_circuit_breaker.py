import asyncio
from typing import Any

import pytest

from providers.chain.circuit_breaker import CircuitBreaker, CircuitStatistics
from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ConnectionLost,
    ContextTooLong,
    HostExhausted,
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


def fail(circuit: CircuitBreaker, error: BaseException | None = None, channel: str = "#a") -> None:
    error = error or ProviderUnavailable("gone")
    with pytest.raises(type(error)), circuit.guard(channel):
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
        with circuit.guard("#a"):
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
        HostExhausted("no files left"),
        ValueError("a defect of ours"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_never_open_it(circuit: CircuitBreaker, error: BaseException) -> None:
    for _ in range(20):
        fail(circuit, error)
    assert circuit.statistics() == CircuitStatistics("closed", 0, 0, 0)


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), GeneratorExit(), HostExhausted("no files left")]
)
def test_a_call_that_shows_nothing_does_not_change_the_count(
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
    with circuit.guard("#a"):
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
    with circuit.guard("#a"):
        pass
    opened(circuit)
    assert circuit.wait_s() == 30


@pytest.mark.parametrize(
    "error",
    [asyncio.CancelledError(), GeneratorExit(), HostExhausted("no files"), KeyError("ours")],
)
def test_after_a_probe_that_shows_nothing_another_one_may_go(
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
    calls: list[Any] = [circuit.guard("#a") for _ in range(6)]
    for call in calls:
        call.__enter__()
    error = ProviderUnavailable("gone")
    for call in calls:
        clock.now_s += 1
        call.__exit__(type(error), error, None)
    assert circuit.wait_s() == 27
    assert circuit.statistics().opened == 1


def test_the_first_rest_is_a_second_and_the_longest_half_a_minute(clock: Clock) -> None:
    circuit = CircuitBreaker(clock=clock)
    for _ in range(4):
        fail(circuit)
    waits = []
    for _ in range(7):
        fail(circuit)
        wait_s = circuit.wait_s()
        assert wait_s is not None
        waits.append(wait_s)
        clock.now_s += wait_s
    assert waits == [1, 2, 4, 8, 16, 30, 30]


# A provider that says that it is available


def test_a_yes_lets_one_call_through_at_once_and_only_a_call_closes_it(
    circuit: CircuitBreaker,
) -> None:
    opened(circuit)
    circuit.let_one_through()
    assert circuit.wait_s() is None
    assert circuit.statistics().state == "half_open"
    fail(circuit)
    assert circuit.wait_s() == 60
    circuit.let_one_through()
    circuit.let_one_through()
    with circuit.guard("#a"):
        assert circuit.wait_s() == 0
    assert circuit.statistics() == CircuitStatistics("closed", 0, 2, 0)


def test_a_probe_that_takes_long_does_not_keep_the_others_away_after_a_yes(
    circuit: CircuitBreaker,
) -> None:
    opened(circuit)
    circuit.let_one_through()
    slow = circuit.guard("#slow")
    with slow:
        assert circuit.wait_s() == 0
        circuit.let_one_through()
        with circuit.guard("#other"):
            assert circuit.wait_s() == 0
        assert circuit.statistics().state == "closed"
    assert circuit.statistics().state == "closed"


def test_a_late_failure_of_a_probe_counts_as_one_failure_if_the_circuit_has_closed(
    circuit: CircuitBreaker,
) -> None:
    opened(circuit)
    circuit.let_one_through()
    slow = circuit.guard("#slow")
    circuit.let_one_through()
    with circuit.guard("#other"):
        pass
    with pytest.raises(ProviderTimeout), slow:
        raise ProviderTimeout("late")
    assert circuit.statistics() == CircuitStatistics("closed", 1, 1, 0)


def test_a_yes_means_nothing_to_a_closed_circuit(circuit: CircuitBreaker) -> None:
    circuit.let_one_through()
    opened(circuit)
    assert circuit.wait_s() == 30


def test_it_tells_when_calls_begin_to_wait(circuit: CircuitBreaker, clock: Clock) -> None:
    told: list[str] = []
    circuit.on_open = lambda *_: told.append("open")
    circuit.on_wait = lambda: told.append("wait")
    opened(circuit)
    assert told == ["open", "wait"]
    clock.now_s += 30
    fail(circuit)
    assert told == ["open", "wait", "wait", "open", "wait"]
