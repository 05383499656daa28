"""One provider of the chain, with its circuit, its slots and its retries."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from providers.base import Completion, LLMProvider, Message, Options, Status
from providers.chain.circuit_breaker import CircuitBreaker, CircuitStatistics
from providers.chain.counters import CallCounters
from providers.chain.fair_semaphore import FairSemaphore, FairSemaphoreStatistics
from providers.chain.guard import CLOSE_LIMIT_S, Guard
from providers.chain.retry import Retry, RetryLimits
from providers.errors import ProviderError, ProviderUnavailable

T = TypeVar("T")
Ask = Callable[[LLMProvider, Options], Awaitable[Completion]]

START_LIMIT_S = 60.0  # where only the status is asked for
STATUS_LIMIT_S = 5.0

log = logging.getLogger("rosey_llm.providers")


@dataclass(slots=True)
class CallCost:
    """What an answer has cost so far: calls made, and seconds spent waiting for a slot."""

    channel: str
    attempts: int = 0
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    circuit: CircuitStatistics
    slots: FairSemaphoreStatistics


class Link:
    """Its calls raise ProviderError and nothing else, whatever the provider does.

    `alternative` says whether another provider could answer instead.
    """

    def __init__(
        self,
        provider: LLMProvider,
        circuit: CircuitBreaker,
        retry: Retry,
        counters: CallCounters | None = None,
    ) -> None:
        self.provider = provider
        self.name = provider.name
        self._counters = counters or CallCounters()
        circuit.on_open = self._counters.note_opened
        self._guard = Guard(provider, retry.clock)
        self._breaker = circuit
        self._retry = retry
        self._semaphore = FairSemaphore(provider.config.max_concurrency)
        self._starting = asyncio.Lock()
        self._started = False

    @property
    def ready(self) -> bool:
        """Whether a call made now would reach the provider."""
        return self._breaker.wait_s() is None

    def statistics(self) -> LinkStatistics:
        return LinkStatistics(self._breaker.statistics(), self._semaphore.statistics())

    async def start(self) -> None:
        """Start the provider, once; where that fails, the next call tries again."""
        await self._start_within(self.provider.config.total_timeout)

    async def whole(
        self, ask: Ask, options: Options, cost: CallCost, *, alternative: bool
    ) -> Completion:
        """What `ask` gets from the provider."""
        limits = await self._let_in(cost, alternative)
        try:
            with self._counters, self._breaker.call():
                attempt = partial(self._guard.whole, ask, options, limits.deadline_s)
                return await self._tried(attempt, limits, cost)
        finally:
            self._semaphore.free()

    async def pieces(
        self, messages: Sequence[Message], options: Options, cost: CallCost, *, alternative: bool
    ) -> AsyncGenerator[str | Completion, None]:
        """The answer as it grows, then its completion; tried again only before the first piece."""
        limits = await self._let_in(cost, alternative)
        try:
            with self._counters, self._breaker.call():
                attempt = partial(self._guard.begun, messages, options, limits.deadline_s)
                async with aclosing(await self._tried(attempt, limits, cost)) as stream:
                    item: str | Completion = stream.text
                    while isinstance(item, str):
                        yield item
                        item = await stream.following()
        finally:
            self._semaphore.free()
        yield item

    async def status(self) -> Status:
        """Of the provider once it is started, which it is for this if need be."""
        problem = f"says nothing for {STATUS_LIMIT_S:g} s"
        try:
            await self._start_within(min(START_LIMIT_S, self.provider.config.total_timeout))
            return await self._guard.step(self.provider.status, STATUS_LIMIT_S, problem)
        except ProviderError as error:
            return Status(False, str(error))

    async def aclose(self) -> None:
        try:
            await self._guard.step(self.provider.aclose, CLOSE_LIMIT_S, "does not close")
        except ProviderError as error:
            log.warning("%s", error)

    async def _start_within(self, limit_s: float) -> None:
        async with self._starting:
            if not self._started:
                problem = f"does not start within {limit_s:g} s"
                await self._guard.step(self.provider.start, limit_s, problem)
                self._started = True

    async def _let_in(self, cost: CallCost, alternative: bool) -> RetryLimits:
        """Wait for a place; gives what bounds the call that has it now."""
        self._refuse_while_open()
        if not self._semaphore.take_free():
            await self._wait_for_place(cost)
        cost.attempts += 1
        config = self.provider.config
        deadline_s = self._retry.clock() + config.total_timeout
        return RetryLimits(config.max_retries, deadline_s, alternative)

    async def _wait_for_place(self, cost: CallCost) -> None:
        came_s = self._retry.clock()
        await self._semaphore.take(cost.channel)
        cost.waited_s += self._retry.clock() - came_s
        try:
            # While this call waited, others may have found the provider dead.
            self._refuse_while_open()
        except ProviderError:
            self._semaphore.free()
            raise

    def _tried(
        self, attempt: Callable[[], Awaitable[T]], limits: RetryLimits, cost: CallCost
    ) -> Awaitable[T]:
        """What `attempt` gives, made again where that may help."""

        def again(error: ProviderError) -> None:
            cost.attempts += 1
            self._counters.note_retry(error)

        if not self._started:
            attempt = partial(self._after_start, attempt)
        return self._retry.run(attempt, limits, again)

    async def _after_start(self, attempt: Callable[[], Awaitable[T]]) -> T:
        await self.start()
        return await attempt()

    def _refuse_while_open(self) -> None:
        wait_s = self._breaker.wait_s()
        if wait_s is None:
            return
        self._counters.skipped += 1
        seconds = math.ceil(wait_s)
        again = f"in {seconds} s" if seconds else "now"
        raise ProviderUnavailable(
            f"{self.provider.label} is not available; trying again {again}",
            retry_after_s=float(seconds),
            refused=True,
        )
