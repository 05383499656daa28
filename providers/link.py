"""One provider of the chain, with its circuit, its slots and its retries."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from providers.base import Completion, LLMProvider, Message, Options, Status
from providers.circuit import Circuit, CircuitStatistics
from providers.errors import ProviderError, ProviderUnavailable
from providers.guard import CLOSE_LIMIT_S, Guard, TokenStream
from providers.retry import Limits, Retry
from providers.slots import Slots, SlotsStatistics
from providers.tally import Tally

Ask = Callable[[LLMProvider, Options], Awaitable[Completion]]

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
        async with self._starting:
            if not self._started:
                limit_s = self.provider.config.total_timeout
                await self._guard.step(self.provider.start, limit_s, "does not start")
                self._started = True

    async def whole(
        self, ask: Ask, options: Options, effort: Effort, *, alternative: bool
    ) -> Completion:
        """What `ask` gets from the provider."""

        async def attempt() -> Completion:
            effort.attempts += 1
            with self._tally.call():
                if not self._started:
                    await self.start()
                return await self._guard.whole(ask, options, limits.deadline_s)

        came_s = self._let_in()
        await self._slots.take(effort.channel)
        try:
            limits = self._limits(effort, came_s, alternative)
            with self._circuit.call():
                return await self._retry.run(attempt, limits, self._tally.note_retry)
        finally:
            self._slots.free()

    async def pieces(
        self, messages: Sequence[Message], options: Options, effort: Effort, *, alternative: bool
    ) -> AsyncGenerator[str | Completion, None]:
        """The answer as it grows, then its completion; tried again only before the first piece."""

        async def attempt() -> TokenStream:
            effort.attempts += 1
            with self._tally.call(whole=False):
                if not self._started:
                    await self.start()
                return await self._guard.begun(messages, options, limits.deadline_s)

        came_s = self._let_in()
        await self._slots.take(effort.channel)
        try:
            limits = self._limits(effort, came_s, alternative)
            with self._circuit.call():
                stream = await self._retry.run(attempt, limits, self._tally.note_retry)
                async with aclosing(stream):
                    item: str | Completion = stream.text
                    with self._tally.call():
                        while isinstance(item, str):
                            yield item
                            item = await self._guard.following(stream, limits.deadline_s)
        finally:
            self._slots.free()
        yield item

    async def status(self) -> Status:
        problem = f"says nothing for {STATUS_LIMIT_S:g} s"
        try:
            return await self._guard.step(self.provider.status, STATUS_LIMIT_S, problem)
        except ProviderError as error:
            return Status(False, str(error))

    async def aclose(self) -> None:
        try:
            await self._guard.step(self.provider.aclose, CLOSE_LIMIT_S, "does not close")
        except ProviderError as error:
            log.warning("%s", error)

    def _let_in(self) -> float:
        """When the call came; an error while the provider is to be left alone."""
        self._refuse_while_open()
        return self._retry.clock()

    def _limits(self, effort: Effort, came_s: float, alternative: bool) -> Limits:
        """What bounds a call that has got its place."""
        now_s = self._retry.clock()
        effort.waited_s += now_s - came_s
        # While this call waited, others may have found the provider dead.
        self._refuse_while_open()
        config = self.provider.config
        return Limits(config.max_retries, now_s + config.total_timeout, alternative)

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
