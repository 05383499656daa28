"""The retry rule: decides which failed calls are repeated, and after what delay."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from providers.errors import ProviderError, ProviderUnavailable

T = TypeVar("T")

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 8.0
LONGEST_RETRY_AFTER_S = 60.0
JITTER = 0.25


class RetryLimits(NamedTuple):
    """The limits on the attempts of one call.

    deadline_s: the time, by `Retry.clock`, at which the whole call must be over.
    alternative: whether another provider could answer instead.
    retry_lost: whether a call is repeated that the provider may have charged for.
    """

    max_retries: int
    deadline_s: float
    alternative: bool = False
    retry_lost: bool = True


def delay_s(
    error: ProviderError, *, attempt: int, now_s: float, limits: RetryLimits, chance: float
) -> float | None:
    """Return the seconds to wait before a retry; None if the call is not repeated.

    attempt: number of the failed attempt, from 1.
    chance: 0 to 1, random; spreads the retries of calls that failed together.

    A provider's own Retry-After is respected. If it is over 60 s, there is no retry; the caller
    finds it in the error.
    """
    if not error.retryable or attempt > limits.max_retries:
        return None
    if error.may_be_charged and not limits.retry_lost:
        return None
    if limits.alternative and isinstance(error, ProviderUnavailable) and error.refused:
        return None
    wait_s: float = min(FIRST_DELAY_S * 2.0 ** min(attempt - 1, 10), LONGEST_DELAY_S)
    wait_s *= 1 - JITTER * chance
    if error.retry_after_s is not None:
        if error.retry_after_s > LONGEST_RETRY_AFTER_S:
            return None
        wait_s = max(wait_s, error.retry_after_s)
    return wait_s if now_s + wait_s < limits.deadline_s else None


@dataclass(frozen=True, slots=True)
class Retry:
    """A runner that repeats failed calls by the rule of `delay_s`. Tests replace its fields."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random

    async def run(
        self,
        attempt: Callable[[], Awaitable[T]],
        limits: RetryLimits,
        on_retry: Callable[[ProviderError], None] = lambda error: None,
        on_wait: Callable[[ProviderError, int, float], None] = lambda error, attempt, wait_s: None,
        on_failure: Callable[[ProviderError], None] = lambda error: None,
    ) -> T:
        """Return what `attempt` returns; it must not fail after any text was shown to the user.

        `on_retry` is called with each error after which the call is repeated; `on_wait` before the
        wait, with the error, the number of the attempt that follows, and the seconds; `on_failure`
        with each error.
        """
        made = 0
        while True:
            made += 1
            try:
                return await attempt()
            except ProviderError as exc:
                error = exc
                on_failure(error)
                wait_s = delay_s(
                    error, attempt=made, now_s=self.clock(), limits=limits, chance=self.chance()
                )
                if wait_s is None:
                    raise
            on_wait(error, made + 1, wait_s)
            await self.sleep(wait_s)
            on_retry(error)
