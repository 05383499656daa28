"""The chain of providers: the first one answers; if it cannot, the next one does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import NamedTuple

from providers.base import CallSettings, Completion, LLMProvider, Message, Options, Status
from providers.chain.call_log import facts
from providers.chain.circuit_breaker import CircuitBreaker
from providers.chain.counters import CallCounters, CountersByProvider
from providers.chain.fallback import FallbackOn, may_fall_over
from providers.chain.lifetimes import Lifetimes
from providers.chain.link import Ask, CallCost, Link, LinkStatistics
from providers.chain.retry import Retry
from providers.chain.trouble_log import TroubleLog
from providers.errors import ContextTooLong, ProviderError

Began = Callable[[str, str], None]
Asked = Callable[[str], None]
Admit = Callable[[str, str], None]
Lost = Callable[[str, str], None]
Failures = list[tuple[Link, ProviderError]]

log = logging.getLogger("rosey_llm.providers")


class Answered(NamedTuple):
    """A completion, with the provider that gave it and what the answer cost.

    provider: the provider's name.
    attempts: calls made, to all providers.
    waited_s: seconds spent waiting for a free slot.
    temperature, max_tokens: the settings that were sent to the provider.
    """

    completion: Completion
    provider: str
    attempts: int
    waited_s: float
    temperature: float | None = None
    max_tokens: int | None = None


class ProviderChain:
    """A chain of providers, through which the engine makes all its calls.

    Every call raises ProviderError and nothing else. The first provider uses the requested model;
    later ones use their own default. The next provider is asked only before the first piece of an
    answer was yielded, and only if the error and `fallback_on` allow it. `channel` is the channel
    of the call: the channels that wait for a slot take turns. `said` is the message that is
    answered, which is not logged, also if an error quotes it.

    primary: the provider that is asked first. names: those of all, in the order of asking.

    To change the providers of a running service, make a `successor` and `retire` this chain.
    Callers that may still call it `hold` it. A successor may also be used beside this chain, for
    channels with other providers: what both have is one provider, with one set of slots.
    """

    def __init__(
        self,
        providers: Sequence[LLMProvider],
        *,
        circuit: Callable[[], CircuitBreaker] = CircuitBreaker,
        retry: Retry | None = None,
        fallback_on: FallbackOn = "passing",
        predecessor: ProviderChain | None = None,
    ) -> None:
        if not providers:
            raise ValueError("a chain needs a provider")
        if len({provider.name for provider in providers}) < len(providers):
            raise ValueError("the providers of a chain need different names")
        self.fallback_on: FallbackOn = fallback_on
        self._breaker = circuit
        self._retry = retry = retry or Retry()
        old = predecessor
        self._counters: CountersByProvider = old._counters if old else CountersByProvider()
        self._trouble_log: TroubleLog = old._trouble_log if old else TroubleLog()
        self._lifetimes: Lifetimes = old._lifetimes if old else Lifetimes()
        self._links = [
            self._lifetimes.link_like(provider)
            or Link(provider, circuit(), retry, self._counters.of(provider.name))
            for provider in providers
        ]
        self._lifetimes.retain(self._links)
        self.names = tuple(link.name for link in self._links)
        self.primary = self._links[0].provider
        self._holders = 0
        self._retired = self._released = False

    @property
    def providers(self) -> list[LLMProvider]:
        """The providers in the order in which they are asked."""
        return [link.provider for link in self._links]

    def successor(
        self, providers: Sequence[LLMProvider], *, fallback_on: FallbackOn = "passing"
    ) -> ProviderChain:
        """Return a chain of these providers for new calls; then `retire` this one.

        A provider with the same name, kind and configuration as an open one of this chain's family
        is not used: the old one stays, with its connections, slots and circuit breaker.
        """
        return ProviderChain(
            providers,
            circuit=self._breaker,
            retry=self._retry,
            fallback_on=fallback_on,
            predecessor=self,
        )

    def hold(self) -> None:
        """Keep the providers open until `release` is called as often as `hold`."""
        self._holders += 1

    def release(self) -> None:
        self._holders -= 1
        if self._retired:
            self._release_links()

    def retire(self) -> None:
        """Close the providers that no successor has, as soon as no caller holds this chain."""
        self._retired = True
        self._release_links()

    def context_tokens(self, model: str | None = None) -> int:
        """Return the limit of the first provider; a later one may raise ContextTooLong."""
        return self.primary.context_tokens(model)

    async def answer(
        self,
        ask: Ask,
        options: Options,
        *,
        channel: str,
        said: str = "",
        can_shorten: bool = False,
        asked: Asked | None = None,
        admit: Admit | None = None,
        lost: Lost | None = None,
    ) -> Answered:
        """Return a whole answer, got by `ask` from the first provider that can answer.

        can_shorten: whether the caller can try a shorter prompt. An error of the first provider
            that may be one of length is then raised at once, and no other provider is asked.
        asked: called with the name of each provider that is given the prompt.
        admit: called with a provider's name and the model before it is asked; what it raises counts
            as the provider's error.
        lost: called with the same after a call that failed, but may be charged for.
        """
        cost = CallCost(channel, said, asked=asked, lost=lost)
        failures: Failures = []
        for position, link in enumerate(self._links):
            alternative, call = self._has_alternative(position), link.provider.settled(options)
            try:
                if admit is not None:
                    admit(link.name, call.model)
                completion = await link.answer(ask, options, cost, alternative=alternative)
            except ProviderError as error:
                failures.append((link, error))
                held = can_shorten and error.maybe_too_long and not position
                if held or not self._note_failure(position, error, options, said):
                    break
                options = replace(options, model=None)
            else:
                self._note_answer(link, options, failures, said)
                return _as_answered(completion, link, call, cost)
        raise self._error_for_caller(failures, said)

    async def stream(
        self,
        messages: Sequence[Message],
        options: Options,
        *,
        channel: str,
        said: str = "",
        began: Began | None = None,
        can_shorten: bool = False,
        asked: Asked | None = None,
        admit: Admit | None = None,
        lost: Lost | None = None,
    ) -> AsyncGenerator[str | Answered, None]:
        """Yield non-empty pieces, then one Answered with all the text. To stop early, close it.

        `began` is called before the first piece with the provider's name and the model. So the
        origin of the text is known even if the answer is stopped. The rest is as for `answer`.
        """
        cost = CallCost(channel, said, asked=asked, lost=lost)
        failures: Failures = []
        for position, link in enumerate(self._links):
            begun = False
            alternative, call = self._has_alternative(position), link.provider.settled(options)
            pieces = link.stream(messages, options, cost, alternative=alternative)
            try:
                if admit is not None:
                    admit(link.name, call.model)
                async with aclosing(pieces):
                    async for item in pieces:
                        if not begun:
                            begun = True
                            self._note_answer(link, options, failures, said)
                            if began is not None:
                                began(link.name, call.model)
                        if isinstance(item, str):
                            yield item
                        else:
                            completion = item
            except ProviderError as error:
                if begun:
                    raise
                failures.append((link, error))
                held = can_shorten and error.maybe_too_long and not position
                if held or not self._note_failure(position, error, options, said):
                    break
                options = replace(options, model=None)
            else:
                yield _as_answered(completion, link, call, cost)
                return
        raise self._error_for_caller(failures, said)

    async def start(self) -> None:
        """Start the first provider; the others start with their first call.

        A failure is only logged: the next call tries to start the provider again.
        """
        try:
            await self._links[0].start()
        except ProviderError as error:
            if not error.needs_person:  # else the next line logs what to do
                log.warning(
                    "Provider %(provider)s: %(error)s",
                    {
                        "event": "provider.start_failed",
                        **facts(self._links[0].name, error),
                        "error": error,
                    },
                )
            self._note_failure(0, error, Options(), "")

    async def aclose(self) -> None:
        """Close all providers, also those of earlier chains that are still held."""
        await self._lifetimes.aclose()

    async def statuses(self) -> dict[str, Status]:
        """Return each provider's diagnosis by its name; start providers that have not started.

        All are asked at the same time. A provider has 60 s to start and then 25 s to answer.
        """
        self.hold()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {link.name: group.create_task(link.status()) for link in self._links}
        finally:
            self.release()
        return {name: task.result() for name, task in tasks.items()}

    def statistics(self) -> dict[str, LinkStatistics]:
        return {link.name: link.statistics() for link in self._links}

    def totals(self) -> dict[str, CallCounters]:
        """Return the counters by provider's name, also those of earlier chains."""
        return self._counters.all()

    def _release_links(self) -> None:
        if not self._holders and not self._released:
            self._released = True
            self._lifetimes.release(self._links)

    def _has_alternative(self, position: int) -> bool:
        """Return whether a later link could answer instead of the one at `position`."""
        later = self._links[position + 1 :]
        return bool(later) and any(link.ready for link in later)

    def _note_failure(
        self, position: int, error: ProviderError, options: Options, said: str
    ) -> bool:
        """Record what a person must change, if anything. Return whether the next one is asked."""
        link, following = self._links[position], self._links[position + 1 :]
        goes_on = bool(following) and may_fall_over(error, options, self.fallback_on)
        if found := link.misconfiguration.note_failure(error, options):
            if goes_on:
                until_then = f"{following[0].name} is asked"
            else:
                until_then = "it is no fallback" if position else f"senders get {found.code}"
            self._trouble_log.misconfigured(link.name, found, error, said, until_then)
        return goes_on

    def _note_answer(self, link: Link, options: Options, failures: Failures, said: str) -> None:
        """Record that providers are passed over, or that one answers again."""
        if not failures and self._trouble_log.is_empty and not link.misconfiguration.found:
            return
        if failures:
            self._counters.of(link.name).fallbacks += 1
        link.misconfiguration.note_answer(options)
        if not link.misconfiguration.found:
            self._trouble_log.answers(link.name)
        for failed, error in failures:
            self._trouble_log.passed_over(failed.name, error, said, by=link.name)

    def _error_for_caller(self, failures: Failures, said: str) -> ProviderError:
        """Return the first error, or the last one if it is ContextTooLong.

        The caller can shorten the prompt, and then that last provider answers.
        """
        for link, error in failures[1:]:
            self._trouble_log.failed_as_well(link.name, error, said)
        last = failures[-1][1]
        return last if isinstance(last, ContextTooLong) else failures[0][1]


def _as_answered(
    completion: Completion, link: Link, call: CallSettings, cost: CallCost
) -> Answered:
    _, temperature, max_tokens = call
    return Answered(completion, link.name, cost.attempts, cost.waited_s, temperature, max_tokens)
