"""A provider whose circuit is open is asked in the background whether it is available again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from providers import trace
from providers.base import Message, Options
from providers.chain.chain import ProviderChain
from providers.errors import ProviderUnavailable
from providers.scripted import ScriptedProvider
from tests.support.chain_harness import ANY, MadeUpTime, chained, chat
from tests.support.patience import until


class Recovering(ScriptedProvider):
    """A provider that is down until `is_up`; a test answers each `is_available` itself."""

    def __init__(self, name: str = "first") -> None:
        super().__init__({"max_retries": 0}, name=name, script=self._script_of_a_call)
        self.is_up = False
        self.asked: asyncio.Queue[asyncio.Future[bool]] = asyncio.Queue()
        self.traces: list[object] = []
        self.closed = 0

    async def _script_of_a_call(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str]:
        if not self.is_up:
            raise ProviderUnavailable("first is down")
        yield "Hello"

    async def is_available(self) -> bool:
        self.traces.append(trace.current.get())
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        await self.asked.put(answer)
        return await answer

    async def aclose(self) -> None:
        self.closed += 1


@pytest.fixture
def time() -> MadeUpTime:
    time = MadeUpTime()
    time.ask_every_s = 0.0
    return time


def state(chain: ProviderChain) -> str:
    return chain.statistics()["first"].circuit.state


def watches() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("availability")]


async def opened(chain: ProviderChain) -> None:
    for _ in range(2):
        with pytest.raises(ProviderUnavailable, match="is down"):
            await chat(chain, ANY)
    with pytest.raises(ProviderUnavailable, match="not available; trying again in 30 s"):
        await chat(chain, ANY)


async def test_a_yes_lets_the_next_call_try_at_once(time: MadeUpTime) -> None:
    provider = Recovering()
    chain = chained(time, provider)
    await opened(chain)
    (await provider.asked.get()).set_result(False)
    answer = await provider.asked.get()  # it is asked again after a no
    assert state(chain) == "open"
    provider.is_up = True
    answer.set_result(True)
    await until(lambda: state(chain) == "half_open")
    assert (await chat(chain, ANY)).completion.content == "Hello"
    assert state(chain) == "closed"
    await until(lambda: not watches())


async def test_a_yes_that_was_not_true_is_asked_for_again_after_the_failed_call(
    time: MadeUpTime,
) -> None:
    provider = Recovering()
    chain = chained(time, provider)
    await opened(chain)
    (await provider.asked.get()).set_result(True)
    await until(lambda: state(chain) == "half_open")
    with pytest.raises(ProviderUnavailable, match="is down"):
        await chat(chain, ANY)
    assert chain.statistics()["first"].circuit.wait_s == 30
    provider.is_up = True
    (await provider.asked.get()).set_result(True)
    await until(lambda: state(chain) == "half_open")
    await chat(chain, ANY)


async def test_only_one_task_asks_and_it_ends_when_the_rest_is_over(time: MadeUpTime) -> None:
    provider = Recovering()
    chain = chained(time, provider)
    await opened(chain)
    answer = await provider.asked.get()
    for _ in range(20):
        with pytest.raises(ProviderUnavailable):
            await chat(chain, ANY)
    assert len(watches()) == 1
    time.now_s += 30
    answer.set_result(False)
    await until(lambda: not watches())
    assert provider.asked.empty()


@pytest.mark.parametrize("error", [OSError("odd"), ProviderUnavailable("odd")])
async def test_a_provider_that_fails_to_answer_is_asked_again_and_nothing_is_logged(
    error: Exception, time: MadeUpTime, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Recovering()
    chain = chained(time, provider)
    await opened(chain)
    caplog.clear()
    (await provider.asked.get()).set_exception(error)
    (await provider.asked.get()).set_result(True)
    await until(lambda: state(chain) == "half_open")
    assert caplog.messages == []


async def test_the_task_ends_when_the_provider_is_closed_and_never_begins_again(
    time: MadeUpTime,
) -> None:
    provider = Recovering()
    chain = chained(time, provider)
    await opened(chain)
    await provider.asked.get()
    chain.successor([ScriptedProvider(name="other")])
    chain.retire()
    await until(lambda: provider.closed == 1)
    assert not watches()
    time.now_s += 30
    with pytest.raises(ProviderUnavailable):  # a late call of a turn that still has the old chain
        await chat(chain, ANY)
    assert not watches()


async def test_the_task_belongs_to_no_turn(time: MadeUpTime) -> None:
    provider = Recovering()
    chain = chained(time, provider)
    token = trace.current.set(trace.TraceContext("x"))
    try:
        await opened(chain)
        await provider.asked.get()
    finally:
        trace.current.reset(token)
    assert provider.traces == [None]
    await chain.aclose()


async def test_a_provider_that_never_started_is_not_asked(time: MadeUpTime) -> None:
    class NeverStarts(Recovering):
        async def start(self) -> None:
            raise ProviderUnavailable("it is down")

    provider = NeverStarts()
    chain = chained(time, provider)
    await opened(chain)
    assert not watches()
