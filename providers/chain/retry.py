"""Which failed call is made again, and when."""

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
    """What bounds the attempts of one call.

    deadline_s: by the clock, when the whole call must be over.
    alternative: whether another provider could answer instead.
    """

    max_retries: int
    deadline_s: float
    alternative: bool = False


def delay_s(
    error: ProviderError, *, attempt: int, now_s: float, limits: RetryLimits, chance: float
) -> float | None:
    """Seconds to wait after the `attempt`th attempt (from 1) failed; None: the error stands.

    `chance` (0 to 1) spreads the calls that failed together. A provider's own Retry-After is kept
    to; one over 60 s is not waited for, and the error tells it to the caller.
    """
    if not error.retryable or attempt > limits.max_retries:
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
    """Makes a call again by the rule of `delay_s`. Its time and chance can be replaced."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random

    async def run(
        self,
        attempt: Callable[[], Awaitable[T]],
        limits: RetryLimits,
        again: Callable[[ProviderError], None] = lambda error: None,
    ) -> T:
        """What `attempt` gives in the end; it must fail only while nothing was shown to anybody.

        `again` is told of each error that another attempt follows.
        """
        made = 0
        while True:
            made += 1
            try:
                return await attempt()
            except ProviderError as exc:
                error = exc
                wait_s = delay_s(
                    error, attempt=made, now_s=self.clock(), limits=limits, chance=self.chance()
                )
                if wait_s is None:
                    raise
            await self.sleep(wait_s)
            again(error)
