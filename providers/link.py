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
from providers.circuit import Circuit, CircuitStatistics
from providers.errors import ProviderError, ProviderUnavailable
from providers.guard import CLOSE_LIMIT_S, Guard
from providers.retry import Limits, Retry
from providers.slots import Slots, SlotsStatistics
from providers.tally import Tally

T = TypeVar("T")
Ask = Callable[[LLMProvider, Options], Awaitable[Completion]]

START_LIMIT_S = 60.0  # where only the status is asked for
STATUS_LIMIT_S = 5.0

log = logging.getLogger("rosey_llm.providers")


@dataclass(slots=True)
class Effort:
    """What an answer has cost so far: calls made, and seconds spent waiting for a slot."""

    channel: str
    attempts: int = 0
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    circuit: CircuitStatistics
    slots: SlotsStatistics


class Link:
    """Its calls raise ProviderError and nothing else, whatever the provider does.

    `alternative` says whether another provider could answer instead.
    """

    def __init__(
        self, provider: LLMProvider, circuit: Circuit, retry: Retry, tally: Tally | None = None
    ) -> None:
        self.provider = provider
        self.name = provider.name
        self._tally = tally or Tally()
        circuit.on_open = self._tally.note_opened
        self._guard = Guard(provider, retry.clock)
        self._circuit = circuit
        self._retry = retry
        self._slots = Slots(provider.config.max_concurrency)
        self._starting = asyncio.Lock()
        self._started = False

    @property
    def ready(self) -> bool:
        """Whether a call made now would reach the provider."""
        return self._circuit.wait_s() is None

    def statistics(self) -> LinkStatistics:
        return LinkStatistics(self._circuit.statistics(), self._slots.statistics())

    async def start(self) -> None:
        """Start the provider, once; where that fails, the next call tries again."""
        await self._start_within(self.provider.config.total_timeout)

    async def whole(
        self, ask: Ask, options: Options, effort: Effort, *, alternative: bool
    ) -> Completion:
        """What `ask` gets from the provider."""
        limits = await self._let_in(effort, alternative)
        try:
            with self._tally, self._circuit.call():
                attempt = partial(self._guard.whole, ask, options, limits.deadline_s)
                return await self._tried(attempt, limits, effort)
        finally:
            self._slots.free()

    async def pieces(
        self, messages: Sequence[Message], options: Options, effort: Effort, *, alternative: bool
    ) -> AsyncGenerator[str | Completion, None]:
        """The answer as it grows, then its completion; tried again only before the first piece."""
        limits = await self._let_in(effort, alternative)
        try:
            with self._tally, self._circuit.call():
                attempt = partial(self._guard.begun, messages, options, limits.deadline_s)
                async with aclosing(await self._tried(attempt, limits, effort)) as stream:
                    item: str | Completion = stream.text
                    while isinstance(item, str):
                        yield item
                        item = await stream.following()
        finally:
            self._slots.free()
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

    async def _let_in(self, effort: Effort, alternative: bool) -> Limits:
        """Wait for a place; gives what bounds the call that has it now."""
        self._refuse_while_open()
        if not self._slots.take_free():
            await self._wait_for_place(effort)
        effort.attempts += 1
        config = self.provider.config
        deadline_s = self._retry.clock() + config.total_timeout
        return Limits(config.max_retries, deadline_s, alternative)

    async def _wait_for_place(self, effort: Effort) -> None:
        came_s = self._retry.clock()
        await self._slots.take(effort.channel)
        effort.waited_s += self._retry.clock() - came_s
        try:
            # While this call waited, others may have found the provider dead.
            self._refuse_while_open()
        except ProviderError:
            self._slots.free()
            raise

    def _tried(
        self, attempt: Callable[[], Awaitable[T]], limits: Limits, effort: Effort
    ) -> Awaitable[T]:
        """What `attempt` gives, made again where that may help."""

        def again(error: ProviderError) -> None:
            effort.attempts += 1
            self._tally.note_retry(error)

        if not self._started:
            attempt = partial(self._after_start, attempt)
        return self._retry.run(attempt, limits, again)

    async def _after_start(self, attempt: Callable[[], Awaitable[T]]) -> T:
        await self.start()
        return await attempt()

    def _refuse_while_open(self) -> None:
        wait_s = self._circuit.wait_s()
        if wait_s is None:
            return
        self._tally.skipped += 1
        seconds = math.ceil(wait_s)
        again = f"in {seconds} s" if seconds else "now"
        raise ProviderUnavailable(
            f"{self.provider.label} is not available; trying again {again}",
            retry_after_s=float(seconds),
            refused=True,
        )
