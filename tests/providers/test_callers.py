"""The failures of one channel alone do not open the circuit while others call."""

from __future__ import annotations

import pytest

from providers.chain.callers import Callers
from providers.chain.circuit_breaker import CircuitBreaker, CircuitStatistics
from providers.errors import ProviderUnavailable


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
    return CircuitBreaker(failures=3, clock=clock)


def fail(circuit: CircuitBreaker, channel: str) -> None:
    with pytest.raises(ProviderUnavailable), circuit.guard(channel):
        raise ProviderUnavailable("gone")


def test_it_knows_whether_more_than_one_channel_called_within_the_last_minute() -> None:
    callers = Callers()
    assert not callers.are_several(0)
    for second in range(100):
        callers.note("#a", second)
        assert not callers.are_several(second)
    callers.note("#b", 100)
    assert callers.are_several(159)
    assert not callers.are_several(160)
    callers.note("#a", 150)
    callers.note("#a", 155)
    assert callers.are_several(160)


def test_one_channel_alone_does_not_open_it_while_others_call(
    circuit: CircuitBreaker, clock: Clock
) -> None:
    with circuit.guard("#well"):
        pass
    for _ in range(20):
        clock.now_s += 3
        fail(circuit, "#sick")
    assert circuit.statistics() == CircuitStatistics("closed", 20, 0, 0)
    clock.now_s += 1  # now #well has not called for more than a minute
    fail(circuit, "#sick")
    assert circuit.statistics().state == "open"


def test_a_channel_that_is_waiting_for_its_answer_counts_from_the_start_of_its_call(
    circuit: CircuitBreaker, clock: Clock
) -> None:
    with circuit.guard("#well"):
        for _ in range(5):
            fail(circuit, "#sick")
        assert circuit.statistics().state == "closed"


def test_failures_of_two_channels_open_it(circuit: CircuitBreaker) -> None:
    for _ in range(5):
        fail(circuit, "#a")
        with circuit.guard("#b"):
            pass
    for channel in ("#a", "#a", "#a", "#a"):
        fail(circuit, channel)
    assert circuit.statistics().state == "closed"
    fail(circuit, "#b")
    assert circuit.statistics().state == "open"


def test_a_success_also_resets_which_channels_failed(circuit: CircuitBreaker) -> None:
    fail(circuit, "#a")
    fail(circuit, "#b")
    with circuit.guard("#b"):
        pass
    for _ in range(9):
        fail(circuit, "#a")
    assert circuit.statistics().state == "closed"
