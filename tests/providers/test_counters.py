"""The call counters: each attempt is counted once, by its result."""

import asyncio
from contextlib import aclosing

import pytest

from providers.chain.counters import CallCounters
from providers.errors import BadAnswer, ProviderError, RateLimited
from tests.support.chain_harness import (
    ANY,
    DOWN,
    HELLO,
    MadeUpTime,
    Way,
    chained,
    every_way,
    scripted,
    waiting,
)


@pytest.fixture
def time() -> MadeUpTime:
    return MadeUpTime()


@every_way
async def test_each_attempt_is_counted_by_its_result(way: Way, time: MadeUpTime) -> None:
    chain = chained(time, scripted("first", DOWN, RateLimited("429"), ["Hi"]))
    assert (await way(chain))[1].attempts == 3
    counters = chain.totals()["first"]
    assert counters.calls == {"provider_unavailable": 1, "rate_limited": 1, "ok": 1}
    assert counters.retries == 2


@every_way
async def test_a_call_that_fails_in_the_end_is_counted_once_for_each_attempt(
    way: Way, time: MadeUpTime
) -> None:
    chain = chained(time, scripted("first", DOWN, BadAnswer("odd")), scripted("spare"))
    assert (await way(chain))[1].attempts == 3
    counters = chain.totals()
    assert counters["first"].calls == {"provider_unavailable": 1, "provider_error": 1}
    assert (counters["first"].retries, counters["spare"].fallbacks) == (1, 1)
    assert counters["spare"].calls == {"ok": 1}


@every_way
async def test_a_call_that_we_end_is_counted_as_cut(way: Way, time: MadeUpTime) -> None:
    chain = chained(time, waiting("first", "one "))
    call = asyncio.create_task(way(chain))
    for _ in range(9):
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert chain.totals()["first"].calls == {"cut": 1}


async def test_a_token_stream_that_is_closed_early_is_counted_as_cut(time: MadeUpTime) -> None:
    chain = chained(time, waiting("first", "one "))
    async with aclosing(chain.stream(HELLO, ANY, channel="#a")) as items:
        await anext(items)
    assert chain.totals()["first"].calls == {"cut": 1}


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (ProviderError("any"), {"provider_error": 1}),
        (GeneratorExit(), {"cut": 1}),
        (KeyError("a bug of ours"), {}),
    ],
)
def test_a_bug_of_ours_is_not_counted_as_a_result(
    error: BaseException, calls: dict[str, int]
) -> None:
    counters = CallCounters()
    with pytest.raises(type(error)), counters.counting():
        raise error
    assert counters.calls == calls
