"""Helpers for the tests of the chain: a fake clock, fake providers, and ways to call a chain."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from providers.base import Completion, LLMProvider, Message, Options
from providers.chain.chain import Answered, ProviderChain
from providers.chain.circuit_breaker import CircuitBreaker
from providers.chain.fallback import FallbackOn
from providers.chain.retry import Retry
from providers.errors import ProviderUnavailable
from providers.scripted import Script, ScriptedProvider

HELLO = [Message("user", "hello")]
ANY = Options()
DOWN = ProviderUnavailable("Primary is down")
REFUSED = ProviderUnavailable("Primary refused", refused=True)


class MadeUpTime:
    """ask_every_s: real seconds between two questions whether a provider is available."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []
        self.ask_every_s = 3600.0

    async def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        self.now_s += delay_s

    @property
    def retry(self) -> Retry:
        return Retry(sleep=self.sleep, clock=lambda: self.now_s, chance=lambda: 0.0)

    def circuit(self) -> CircuitBreaker:
        return CircuitBreaker(
            failures=2,
            cooldown_s=30,
            ask_every_s=self.ask_every_s,
            clock=lambda: self.now_s,
        )


def in_turn(*acts: Exception | list[str]) -> Script:
    """Return a script that does the acts in turn, one per call, and then repeats the last one."""
    left = list(acts)

    async def script(messages: Sequence[Message], options: Options) -> AsyncIterator[str]:
        act = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(act, Exception):
            raise act
        for piece in act:
            yield piece

    return script


def scripted(name: str, *acts: Exception | list[str], **config: Any) -> ScriptedProvider:
    return ScriptedProvider(config, name=name, script=in_turn(*acts) if acts else None)


def chained(
    time: MadeUpTime, *providers: LLMProvider, fallback_on: FallbackOn = "passing"
) -> ProviderChain:
    return ProviderChain(providers, circuit=time.circuit, retry=time.retry, fallback_on=fallback_on)


async def streamed(chain: ProviderChain, options: Options = ANY) -> tuple[list[str], Answered]:
    pieces: list[str] = []
    async with aclosing(chain.stream(HELLO, options, channel="#a")) as items:
        async for item in items:
            if isinstance(item, Answered):
                return pieces, item
            pieces.append(item)
    raise AssertionError("no Answered came")


async def chatted(chain: ProviderChain, options: Options = ANY) -> tuple[list[str], Answered]:
    return [], await chat(chain, options)


async def completed(chain: ProviderChain, options: Options = ANY) -> tuple[list[str], Answered]:
    return [], await complete(chain, "hello", options)


WAYS = [streamed, chatted, completed]
Way = Callable[..., Any]
every_way = pytest.mark.parametrize("way", WAYS, ids=["stream", "chat", "complete"])


def idle(chain: ProviderChain) -> bool:
    statistics = [link.slots for link in chain.statistics().values()]
    return all((slots.running, slots.waiting) == (0, 0) for slots in statistics)


def waiting(name: str, *pieces: str, **config: Any) -> ScriptedProvider:
    """Return a provider that sends these pieces and then hangs."""

    async def script(messages: Sequence[Message], options: Options) -> AsyncIterator[str]:
        for piece in pieces:
            yield piece
        await asyncio.Event().wait()

    return ScriptedProvider(config, name=name, script=script)


class Stranger(LLMProvider):
    """A provider of another author; each test sets what it does."""

    kind = "stranger"
    act: Any = None
    closed = 0
    started = 0

    async def chat(self, messages: Sequence[Message], options: Options) -> Completion:
        return await self.act()  # type: ignore[no-any-return]

    async def is_available(self) -> bool:
        return bool(await self.act())

    async def start(self) -> None:
        self.started += 1

    async def aclose(self) -> None:
        self.closed += 1


def stranger(act: Any, **config: Any) -> Stranger:
    provider = Stranger(config)
    provider.act = act
    return provider


def giving(value: object) -> Any:
    async def act() -> object:
        if isinstance(value, BaseException):
            raise value
        return value

    return act


async def chat(chain: ProviderChain, options: Options, channel: str = "#a") -> Answered:
    """Return the whole answer to HELLO, got in one piece."""
    return await chain.answer(
        lambda provider, asked: provider.chat(HELLO, asked), options, channel=channel
    )


async def complete(
    chain: ProviderChain, prompt: str, options: Options, channel: str = "#a"
) -> Answered:
    """Return the whole completion of a prompt, got in one piece."""
    return await chain.answer(
        lambda provider, asked: provider.complete(prompt, asked), options, channel=channel
    )
