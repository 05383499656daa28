"""A provider of the chain with its circuit breaker, its slots, its time limits and its retries."""

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
from providers.chain import call_log
from providers.chain.availability import AvailabilityWatch
from providers.chain.circuit_breaker import CircuitBreaker, CircuitStatistics
from providers.chain.counters import CallCounters
from providers.chain.fair_semaphore import FairSemaphore, FairSemaphoreStatistics
from providers.chain.guard import CLOSE_LIMIT_S, Guard
from providers.chain.misconfiguration import Misconfiguration, Misconfigured
from providers.chain.retry import JITTER, Retry, RetryLimits
from providers.errors import ProviderError, ProviderUnavailable

T = TypeVar("T")
Ask = Callable[[LLMProvider, Options], Awaitable[Completion]]

START_LIMIT_S = 60.0  # used only for `status`
STATUS_LIMIT_S = 25.0

log = logging.getLogger("rosey_llm.providers")


@dataclass(slots=True)
class CallCost:
    """The cost of an answer so far: calls made, and seconds spent waiting for a slot.

    said: the message that is answered; the log leaves it out where an error quotes it.
    asked: called with each provider's name, before that one is given the prompt.
    lost: called with a provider's name and the model after a call that gave no answer, but that the
        provider may charge for.
    """

    channel: str
    said: str = ""
    attempts: int = 0
    waited_s: float = 0.0
    asked: Callable[[str], None] | None = None
    lost: Callable[[str, str], None] | None = None


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """The state of a link. misconfigured: what a person must change; None for nothing."""

    circuit: CircuitStatistics
    slots: FairSemaphoreStatistics
    misconfigured: Misconfigured | None = None


class Link:
    """A provider of the chain, whose calls raise ProviderError and nothing else.

    `alternative` of a call: whether another provider could answer instead.
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
        self.misconfiguration = Misconfiguration(provider)
        self._guard = Guard(provider, retry.clock)
        self._breaker = circuit
        self._availability = AvailabilityWatch(provider, self._guard, circuit)
        circuit.on_open = self._note_opened
        circuit.on_close = partial(call_log.circuit_closed, self.name)
        circuit.on_wait = self._ask_when_started
        self._retry = retry
        self._semaphore = FairSemaphore(provider.max_concurrency)
        self._starting = asyncio.Lock()
        self._started = False

    @property
    def ready(self) -> bool:
        """Whether it could answer now: the circuit lets a call through, and no person is needed."""
        return self._breaker.wait_s() is None and not self.misconfiguration.found

    def statistics(self) -> LinkStatistics:
        return LinkStatistics(
            self._breaker.statistics(),
            self._semaphore.statistics(),
            self.misconfiguration.describe(),
        )

    async def start(self) -> None:
        """Start the provider, once; if it fails, the next call tries again."""
        await self._start_within(self.provider.config.total_timeout)

    async def answer(
        self, ask: Ask, options: Options, cost: CallCost, *, alternative: bool
    ) -> Completion:
        """Return the completion that `ask` gets from the provider."""
        limits = await self._admit(cost, alternative)
        try:
            with self._counters.counting(), self._breaker.guard(cost.channel):
                attempt = partial(self._guard.answer, ask, options, limits.deadline_s)
                return await self._with_retries(attempt, options, limits, cost)
        finally:
            self._semaphore.free()

    async def stream(
        self, messages: Sequence[Message], options: Options, cost: CallCost, *, alternative: bool
    ) -> AsyncGenerator[str | Completion, None]:
        """Yield the answer in pieces, then its completion. Retry only before the first piece."""
        limits = await self._admit(cost, alternative)
        try:
            with self._counters.counting(), self._breaker.guard(cost.channel):
                attempt = partial(self._guard.open_stream, messages, options, limits.deadline_s)
                opened = await self._with_retries(attempt, options, limits, cost)
                async with aclosing(opened) as stream:
                    item: str | Completion = stream.text
                    while isinstance(item, str):
                        yield item
                        item = await stream.next()
        finally:
            self._semaphore.free()
        yield item

    async def status(self) -> Status:
        """Return what the provider finds wrong with itself; start it first if necessary."""
        problem = f"did not answer within {STATUS_LIMIT_S:g} s"
        try:
            await self._start_within(min(START_LIMIT_S, self.provider.config.total_timeout))
            return await self._guard.step(self.provider.diagnose, STATUS_LIMIT_S, problem)
        except ProviderError as error:
            return Status(False, str(error), error.needs_person)

    async def aclose(self) -> None:
        await self._availability.aclose()
        try:
            problem = f"did not close within {CLOSE_LIMIT_S:g} s"
            await self._guard.step(self.provider.aclose, CLOSE_LIMIT_S, problem)
        except ProviderError as error:
            log.warning(
                "%(error)s",
                {"event": "provider.close_failed", "provider": self.name, "error": error},
            )

    def _note_opened(self, error: ProviderError, wait_s: float, again: bool) -> None:
        self._counters.note_opened()
        if again:
            call_log.probe_failed(self.name, error, wait_s)
        else:
            failures = self._breaker.statistics().failures
            call_log.circuit_opened(self.name, error, failures, wait_s)

    def _ask_when_started(self) -> None:
        if self._started:  # before that, a provider may be asked nothing
            self._availability.begin()

    async def _start_within(self, limit_s: float) -> None:
        async with self._starting:
            if not self._started:
                problem = f"did not start within {limit_s:g} s"
                await self._guard.step(self.provider.start, limit_s, problem)
                self._started = True

    async def _admit(self, cost: CallCost, alternative: bool) -> RetryLimits:
        """Wait for a slot; return the call's limits. ProviderUnavailable if the circuit is open."""
        self._check_circuit()
        if self._semaphore.limit != self.provider.max_concurrency:
            self._semaphore.resize(self.provider.max_concurrency)
        if not self._semaphore.take_free():
            await self._wait_for_slot(cost)
        cost.attempts += 1
        if cost.asked is not None:
            cost.asked(self.name)
        config = self.provider.config
        deadline_s = self._retry.clock() + config.total_timeout
        return RetryLimits(config.max_retries, deadline_s, alternative, config.retry_lost)

    async def _wait_for_slot(self, cost: CallCost) -> None:
        started_s = self._retry.clock()
        await self._semaphore.take(cost.channel)
        cost.waited_s += self._retry.clock() - started_s
        try:
            # The circuit may have opened while this call waited.
            self._check_circuit()
        except ProviderError:
            self._semaphore.free()
            raise

    def _with_retries(
        self,
        attempt: Callable[[], Awaitable[T]],
        options: Options,
        limits: RetryLimits,
        cost: CallCost,
    ) -> Awaitable[T]:
        """Return what `attempt` returns; repeat it if that may help."""

        def note_lost(error: ProviderError) -> None:
            if error.may_be_charged and cost.lost is not None:
                cost.lost(self.name, self.provider.settled(options).model)

        def on_retry(error: ProviderError) -> None:
            cost.attempts += 1
            self._counters.note_retry(error)

        def on_wait(error: ProviderError, attempt: int, wait_s: float) -> None:
            call_log.retry(self.name, error, cost.said, attempt, wait_s)

        if not self._started:
            attempt = partial(self._after_start, attempt)
        return self._retry.run(attempt, limits, on_retry, on_wait, note_lost)

    async def _after_start(self, attempt: Callable[[], Awaitable[T]]) -> T:
        await self.start()
        return await attempt()

    def _check_circuit(self) -> None:
        """Raise ProviderUnavailable if the circuit is open."""
        wait_s = self._breaker.wait_s()
        if wait_s is None:
            return
        self._counters.skipped += 1
        seconds = math.ceil(wait_s)
        when = f"in {seconds} s" if seconds else "now"
        raise ProviderUnavailable(
            f"{self.provider.label} is not available; trying again {when}",
            # While a probe runs it is 0 s; told so, a sender would come again at once.
            retry_after_s=round(max(seconds, 1) * (1 + JITTER * self._retry.chance()), 1),
            refused=True,
        )
