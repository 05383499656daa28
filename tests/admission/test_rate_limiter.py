"""Tests of the rate limiter: never more than the limit in any time, and bounded memory."""

from __future__ import annotations

import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.admission.rate_limiter import RateLimiter

bounded = settings(deadline=None, max_examples=200, database=None)
ROUNDING_S = 1e-6


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def passes(limiter: RateLimiter, key: str = "alice") -> bool:
    if limiter.wait_s(key):
        return False
    limiter.take(key)
    return True


def test_all_tokens_may_be_taken_at_once_and_come_back_one_by_one() -> None:
    clock = Clock()
    limiter = RateLimiter(10, 60.0, clock)
    assert [passes(limiter) for _ in range(12)] == [True] * 10 + [False] * 2
    assert limiter.wait_s("alice") == pytest.approx(6.0)
    assert limiter.wait_s("bob") == 0.0
    clock.now_s += 6.001
    assert [passes(limiter) for _ in range(2)] == [True, False]
    clock.now_s += 60.001
    assert limiter.left("alice") == 10


def test_a_token_that_is_given_back_can_be_taken_again() -> None:
    limiter = RateLimiter(2, 60.0, Clock())
    assert [passes(limiter) for _ in range(3)] == [True, True, False]
    limiter.give_back("alice")
    assert limiter.left("alice") == 1
    assert [passes(limiter) for _ in range(2)] == [True, False]
    limiter.give_back("nobody")
    assert limiter.left("nobody") == 2


@bounded
@given(
    st.integers(1, 20),
    st.lists(st.floats(0, 90, allow_nan=False), max_size=200),
)
def test_what_passes_in_any_time_is_bounded(limit: int, pauses_s: list[float]) -> None:
    clock = Clock()
    limiter, passed_s = RateLimiter(limit, 60.0, clock), list[float]()
    for pause_s in pauses_s:
        clock.now_s += pause_s
        wait_s = limiter.wait_s("alice")
        if passes(limiter):
            passed_s.append(clock.now_s)
        else:
            # What it says is true: then, and not before.
            assert 0 < wait_s <= 60.0 / limit + ROUNDING_S
    for number, first_s in enumerate(passed_s):
        for more, last_s in enumerate(passed_s[number:], 1):
            assert more <= limit + (last_s - first_s) * limit / 60.0 + ROUNDING_S


@bounded
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 30)), max_size=100))
def test_there_are_never_more_buckets_than_may_be(events: list[tuple[str, float]]) -> None:
    clock = Clock()
    limiter = RateLimiter(3, 60.0, clock, most=4)
    for key, pause_s in events:
        clock.now_s += pause_s
        passes(limiter, key)
        assert len(limiter) <= 4


def test_the_bucket_that_was_used_least_recently_goes_first() -> None:
    clock = Clock()
    limiter = RateLimiter(1, 60.0, clock, most=2)
    for key in ("a", "b", "c"):
        assert passes(limiter, key)
        clock.now_s += 1.0
    assert (limiter.left("a"), limiter.left("b"), limiter.left("c")) == (1, 0, 0)


@pytest.mark.slow
def test_a_hundred_thousand_senders_need_less_than_thirty_megabytes() -> None:
    clock = Clock()
    tracemalloc.start()
    try:
        limiter = RateLimiter(10, 60.0, clock)
        for number in range(150_000):
            clock.now_s += 0.0001
            limiter.take(f"id {number:020}")
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(limiter) == 100_000
    assert used < 30 * 2**20, sys.version
