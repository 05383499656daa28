"""Tests of the shared timeout: each wait has its own limit, and every cancellation is raised."""

from __future__ import annotations

import asyncio

import pytest

from providers.chain.shared_timeout import SharedTimeout

LONG_S = 60.0
SHORT_S = 0.01


async def waits(shared_timeout: SharedTimeout, limit_s: float, what: asyncio.Event) -> str:
    try:
        with shared_timeout.within(limit_s):
            await what.wait()
    except TimeoutError:
        return "late"
    return "in time"


async def never() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("others", [[], [LONG_S], [LONG_S, SHORT_S / 2, LONG_S]], ids=str)
async def test_a_wait_ends_at_its_own_limit_whatever_other_waits_there_are(
    others: list[float],
) -> None:
    shared_timeout, arrived = SharedTimeout(), asyncio.Event()
    long = [asyncio.create_task(waits(shared_timeout, limit_s, arrived)) for limit_s in others]
    await asyncio.sleep(0)
    assert await waits(shared_timeout, SHORT_S, arrived) == "late"
    arrived.set()
    ends = await asyncio.gather(*long)
    assert ends == ["in time" if limit_s == LONG_S else "late" for limit_s in others]


async def test_a_wait_that_began_while_the_timer_was_set_for_another_is_limited_too() -> None:
    shared_timeout, arrived = SharedTimeout(), asyncio.Event()
    first = asyncio.create_task(waits(shared_timeout, SHORT_S, arrived))
    await asyncio.sleep(0)
    second = asyncio.create_task(waits(shared_timeout, 2 * SHORT_S, arrived))
    assert [await first, await second] == ["late", "late"]
    assert await waits(shared_timeout, SHORT_S, arrived) == "late"


async def test_many_waits_in_turn_leave_the_task_as_it_was() -> None:
    shared_timeout, arrived = SharedTimeout(), asyncio.Event()
    task = asyncio.current_task()
    assert task is not None
    for _ in range(3):
        assert await waits(shared_timeout, SHORT_S, arrived) == "late"
        assert task.cancelling() == 0
    arrived.set()
    assert await waits(shared_timeout, SHORT_S, arrived) == "in time"


async def test_a_limit_in_the_past_expires_at_once() -> None:
    assert await waits(SharedTimeout(), -1.0, asyncio.Event()) == "late"


async def test_a_block_that_does_not_wait_never_expires() -> None:
    with SharedTimeout().within(-1.0) as wait:
        pass
    assert not wait.expired


async def test_the_callers_cancellation_is_not_a_timeout() -> None:
    task = asyncio.create_task(waits(SharedTimeout(), LONG_S, asyncio.Event()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("error", [None, OSError("as if it were that")])
async def test_a_suppressed_cancellation_is_raised_anyway(
    error: Exception | None,
) -> None:
    async def suppresses_it() -> None:
        with SharedTimeout().within(LONG_S):
            try:
                await never()
            except asyncio.CancelledError:
                if error is not None:
                    raise error from None

    task = asyncio.create_task(suppresses_it())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_instead_of_a_timeout_is_raised_and_the_wait_has_expired() -> None:
    wait = SharedTimeout().within(SHORT_S)

    async def hides_it() -> None:
        with wait:
            try:
                await never()
            except asyncio.CancelledError:
                raise KeyError from None

    with pytest.raises(KeyError):
        await hides_it()
    assert wait.expired


async def test_a_cancellation_at_the_moment_of_the_limit_is_a_cancellation() -> None:
    async def cancelled_twice() -> None:
        task = asyncio.current_task()
        assert task is not None
        with SharedTimeout().within(SHORT_S):
            try:
                await never()
            finally:
                task.cancel()

    task = asyncio.create_task(cancelled_twice())
    with pytest.raises(asyncio.CancelledError):
        await task


def test_it_works_again_in_a_new_event_loop() -> None:
    shared_timeout = SharedTimeout()
    for _ in range(2):
        assert asyncio.run(waits(shared_timeout, SHORT_S, asyncio.Event())) == "late"
    asyncio.run(waits(shared_timeout, LONG_S, done()))
    assert asyncio.run(waits(shared_timeout, SHORT_S, asyncio.Event())) == "late"


def done() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
