"""The providers in their order: the first answers, and where it cannot, the next one does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import NamedTuple

from providers.base import Completion, LLMProvider, Message, Options, Status
from providers.chain.circuit_breaker import CircuitBreaker
from providers.chain.counters import CallCounters, CountersByProvider
from providers.chain.lifetimes import Lifetimes
from providers.chain.link import Ask, CallCost, Link, LinkStatistics
from providers.chain.retry import Retry
from providers.errors import ContextTooLong, ModelNotFound, ProviderError

Began = Callable[[str, str], None]
Failures = list[tuple[Link, ProviderError]]

log = logging.getLogger("rosey_llm.providers")


class Answered(NamedTuple):
    """A completion, and what it took.

    provider: the name of the one that answered; attempts: calls made, over all providers;
    waited_s: seconds spent waiting for a free slot; temperature and max_tokens: what the provider
    was asked for.
    """

    completion: Completion
    provider: str
    attempts: int
    waited_s: float
    temperature: float | None = None
    max_tokens: int | None = None


class ProviderChain:
    """What the engine calls. Every call raises ProviderError and nothing else.

    The first provider answers with the model that was asked for; a later one with its own default.
    Another provider takes over only before the first piece of an answer was given out, and only
    where it could do better. `channel` is who waits for a slot, for fairness among channels.

    A running service changes its providers by a `successor`; whoever may still call this chain then
    `hold`s it.
    """

    def __init__(
        self,
        providers: Sequence[LLMProvider],
        *,
        circuit: Callable[[], CircuitBreaker] = CircuitBreaker,
        retry: Retry | None = None,
        before: ProviderChain | None = None,
    ) -> None:
        if not providers:
            raise ValueError("a chain needs a provider")
        if len({provider.name for provider in providers}) < len(providers):
            raise ValueError("the providers of a chain need different names")
        self._breaker = circuit
        self._retry = retry = retry or Retry()
        self._counters: CountersByProvider = before._counters if before else CountersByProvider()
        self._links = [
            (before and before._carried(provider))
            or Link(provider, circuit(), retry, self._counters.of(provider.name))
            for provider in providers
        ]
        self._passed_over: set[str] = set(before._passed_over) if before else set()
        self._lifetimes: Lifetimes = before._lifetimes if before else Lifetimes()
        self._lifetimes.taken(self._links)
        self._holders = 0
        self._retired = self._left = False

    @property
    def primary(self) -> LLMProvider:
        return self._links[0].provider

    @property
    def providers(self) -> list[LLMProvider]:
        """In the order in which they are asked."""
        return [link.provider for link in self._links]

    def successor(self, providers: Sequence[LLMProvider]) -> ProviderChain:
        """A chain of these providers for the calls to come; then `retire` this one.

        A provider of the same name, kind and configuration as one of ours goes on as it is, with
        its connections, its slots and what is known of its health; the new one is not used.
        """
        return ProviderChain(providers, circuit=self._breaker, retry=self._retry, before=self)

    def hold(self) -> None:
        """Somebody may call from now on, until as many calls of `release`; never waits."""
        self._holders += 1

    def release(self) -> None:
        self._holders -= 1
        if self._retired:
            self._leave()

    def retire(self) -> None:
        """Once nobody holds it any more, close the providers that no successor has."""
        self._retired = True
        self._leave()

    def context_tokens(self, model: str | None = None) -> int:
        """The budget of the first provider; a later one may say ContextTooLong."""
        return self.primary.context_tokens(model)

    async def chat(
        self, messages: Sequence[Message], options: Options, *, channel: str
    ) -> Answered:
        return await self._whole(
            lambda provider, options: provider.chat(messages, options), options, channel
        )

    async def complete(self, prompt: str, options: Options, *, channel: str) -> Answered:
        return await self._whole(
            lambda provider, options: provider.complete(prompt, options), options, channel
        )

    async def stream(
        self,
        messages: Sequence[Message],
        options: Options,
        *,
        channel: str,
        began: Began | None = None,
    ) -> AsyncGenerator[str | Answered, None]:
        """Non-empty pieces, then one Answered that holds them joined. Close it to stop it.

        `began` is called before the first piece, with the provider's name and the model: whoever
        stops before the end knows from whom the text is.
        """
        cost = CallCost(channel)
        failures: Failures = []
        for position, link in enumerate(self._links):
            begun = False
            alternative = self._another_after(position)
            pieces = link.pieces(messages, options, cost, alternative=alternative)
            try:
                async with aclosing(pieces):
                    async for item in pieces:
                        if not begun:
                            begun = True
                            self._note_answer(link, failures)
                            if began is not None:
                                began(link.name, link.provider.settled(options)[0])
                        if isinstance(item, str):
                            yield item
                        else:
                            completion = item
            except ProviderError as error:
                if begun:
                    raise
                failures.append((link, error))
                if not _falls_over(error, options):
                    break
                options = replace(options, model=None)
            else:
                yield _answered(completion, link, options, cost)
                return
        raise _telling(failures)

    async def start(self) -> None:
        """Start the first provider; the others start when they are needed, if ever.

        One that is not there yet is only logged: it may come up later.
        """
        try:
            await self._links[0].start()
        except ProviderError as error:
            log.warning("Provider %s: %s", self._links[0].name, error)

    async def aclose(self) -> None:
        """Close all providers, also those of the chains before that are still held."""
        await self._lifetimes.aclose()

    async def statuses(self) -> dict[str, Status]:
        """Each provider's status by its name, all started at need and asked at once.

        A provider has 60 s to start, and then 5 s to answer.
        """
        self.hold()
        try:
            async with asyncio.TaskGroup() as group:
                asked = {link.name: group.create_task(link.status()) for link in self._links}
        finally:
            self.release()
        return {name: task.result() for name, task in asked.items()}

    def statistics(self) -> dict[str, LinkStatistics]:
        return {link.name: link.statistics() for link in self._links}

    def totals(self) -> dict[str, CallCounters]:
        """By name, also of providers that only chains before this one had."""
        return self._counters.all()

    def _leave(self) -> None:
        if not self._holders and not self._left:
            self._left = True
            self._lifetimes.left(self._links)

    def _carried(self, provider: LLMProvider) -> Link | None:
        """Our link to a provider like this one."""
        return next((link for link in self._links if _alike(link.provider, provider)), None)

    async def _whole(self, ask: Ask, options: Options, channel: str) -> Answered:
        cost = CallCost(channel)
        failures: Failures = []
        for position, link in enumerate(self._links):
            alternative = self._another_after(position)
            try:
                completion = await link.whole(ask, options, cost, alternative=alternative)
            except ProviderError as error:
                failures.append((link, error))
                if not _falls_over(error, options):
                    break
                options = replace(options, model=None)
            else:
                self._note_answer(link, failures)
                return _answered(completion, link, options, cost)
        raise _telling(failures)

    def _another_after(self, position: int) -> bool:
        """Whether a later link could answer in the place of this one."""
        later = self._links[position + 1 :]
        return bool(later) and any(link.ready for link in later)

    def _note_answer(self, link: Link, failures: Failures) -> None:
        """Log once when a provider is passed over, and once when it answers again."""
        if not failures and not self._passed_over:
            return
        if failures:
            self._counters.of(link.name).fallbacks += 1
        if link.name in self._passed_over:
            self._passed_over.remove(link.name)
            log.info("Provider %s answers again.", link.name)
        for failed, error in failures:
            if failed.name not in self._passed_over:
                self._passed_over.add(failed.name)
                log.warning(
                    "Provider %s is not available; answering with %s. (%s)",
                    failed.name,
                    link.name,
                    error,
                )


def _alike(one: LLMProvider, other: LLMProvider) -> bool:
    return type(one) is type(other) and one.name == other.name and one.config == other.config


def _answered(completion: Completion, link: Link, options: Options, cost: CallCost) -> Answered:
    _, temperature, max_tokens = link.provider.settled(options)
    return Answered(completion, link.name, cost.attempts, cost.waited_s, temperature, max_tokens)


def _falls_over(error: ProviderError, options: Options) -> bool:
    named = isinstance(error, ModelNotFound) and options.model is not None
    return error.falls_over and not named


def _telling(failures: Failures) -> ProviderError:
    """The error that the caller hears of: the first one, unless it can cure a later one.

    A prompt too long for a later provider can be cut, and then that provider answers.
    """
    for link, error in failures[1:]:
        log.warning("Provider %s failed as well: %s", link.name, error)
    last = failures[-1][1]
    return last if isinstance(last, ContextTooLong) else failures[0][1]
