"""Tests of chains that replace each other: which providers stay, which are closed, and when."""

from __future__ import annotations

import asyncio

import pytest

from providers.chain.chain import ProviderChain
from providers.errors import ProviderError
from tests.support.chain_harness import (
    DOWN,
    MadeUpTime,
    Stranger,
    chained,
    chatted,
    giving,
    scripted,
    stranger,
)


class Other(Stranger):
    """Another kind of provider under the same name."""


@pytest.fixture
def time() -> MadeUpTime:
    return MadeUpTime()


def named(name: str, **config: object) -> Stranger:
    return Stranger(config, name=name)


async def settled() -> None:
    """Wait until the tasks that close providers have ended."""
    for _ in range(10):
        await asyncio.sleep(0)


def replaced(chain: ProviderChain, *providers: Stranger) -> ProviderChain:
    successor = chain.successor(providers)
    chain.retire()
    return successor


async def test_an_unchanged_provider_stays(time: MadeUpTime) -> None:
    kept, removed = named("kept", timeout=5), named("removed")
    chain = replaced(chained(time, kept, removed), named("kept", timeout=5.0))
    await settled()
    assert chain.providers == [kept]
    assert (kept.closed, removed.closed) == (0, 1)


@pytest.mark.parametrize("other", [Stranger({"timeout": 6}, name="a"), Other({}, name="a")])
async def test_another_configuration_or_kind_is_another_provider(
    time: MadeUpTime, other: Stranger
) -> None:
    before = named("a")
    chain = replaced(chained(time, before), other)
    await settled()
    assert chain.providers == [other]
    assert (before.closed, other.closed) == (1, 0)


async def test_a_provider_stays_when_the_order_and_the_other_providers_change(
    time: MadeUpTime,
) -> None:
    one, two, three = named("1"), named("2"), named("3")
    chain = replaced(chained(time, one, two), three, named("2"), named("1"))
    assert chain.providers == [three, two, one]
    assert list(chain.statistics()) == ["3", "2", "1"]


async def test_the_circuit_of_a_provider_stays(time: MadeUpTime) -> None:
    chain = chained(time, scripted("a", DOWN, max_retries=0))
    for _ in range(2):
        with pytest.raises(ProviderError):
            await chatted(chain)
    assert chain.statistics()["a"].circuit.state == "open"
    successor = chain.successor([scripted("a", max_retries=0), scripted("b")])
    assert successor.statistics()["a"].circuit.state == "open"
    assert (await chatted(successor))[1].provider == "b"


async def test_a_provider_is_closed_only_when_its_chain_is_not_held(time: MadeUpTime) -> None:
    old = named("old")
    chain = chained(time, old)
    chain.hold()
    chain.hold()
    replaced(chain, named("new"))
    chain.release()
    await settled()
    assert old.closed == 0
    chain.release()
    await settled()
    assert old.closed == 1


async def test_a_provider_stays_open_while_any_chain_that_has_it_is_held(
    time: MadeUpTime,
) -> None:
    shared = named("shared")
    first = chained(time, shared)
    first.hold()
    second = replaced(first, named("shared"), named("x"))
    second.hold()
    third = replaced(second, named("y"))
    first.release()
    await settled()
    assert shared.closed == 0
    second.release()
    await settled()
    assert (shared.closed, third.providers[0].name) == (1, "y")


async def test_a_late_holder_of_a_retired_chain_closes_nothing_twice(
    time: MadeUpTime,
) -> None:
    old = named("old")
    chain = chained(time, old)
    replaced(chain, named("new"))
    chain.hold()
    chain.release()
    await settled()
    assert old.closed == 1


async def test_closing_also_closes_providers_that_are_still_held(time: MadeUpTime) -> None:
    old, new = named("old"), named("new")
    chain = chained(time, old)
    chain.hold()
    successor = replaced(chain, new)
    await successor.aclose()
    assert (old.closed, new.closed) == (1, 1)


async def test_closing_waits_for_providers_that_are_being_closed(time: MadeUpTime) -> None:
    class Slow(Stranger):
        async def aclose(self) -> None:
            await asyncio.sleep(0.01)
            await super().aclose()

    old = Slow({}, name="old")
    successor = replaced(chained(time, old), named("new"))
    await successor.aclose()
    assert old.closed == 1


async def test_a_provider_is_not_closed_while_its_status_is_asked(time: MadeUpTime) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()
    old = stranger(giving(True))

    async def act() -> bool:
        asked.set()
        await answer.wait()
        return not old.closed

    old.act = act
    chain = chained(time, old)
    statuses = asyncio.create_task(chain.statuses())
    await asked.wait()
    replaced(chain, named("new"))
    await settled()
    answer.set()
    assert (await statuses)["stranger"].available
    await settled()
    assert old.closed == 1


async def test_many_successors_leave_nothing_behind(time: MadeUpTime) -> None:
    made = [named("a", timeout=1 + number) for number in range(50)]
    chain = chained(time, named("a", timeout=99))
    for provider in made:
        chain = replaced(chain, provider)
    await settled()
    assert [provider.closed for provider in made] == [1] * 49 + [0]
    lifetimes = chain._lifetimes
    assert list(lifetimes._chains) == chain._links
    assert not lifetimes._closing


async def test_an_invalid_successor_changes_nothing(time: MadeUpTime) -> None:
    old = named("old")
    chain = chained(time, old)
    with pytest.raises(ValueError, match="different names"):
        chain.successor([named("x"), named("x")])
    with pytest.raises(ValueError, match="needs a provider"):
        chain.successor([])
    chain.retire()
    await settled()
    assert old.closed == 1
