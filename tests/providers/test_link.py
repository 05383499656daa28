import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import pytest

from providers.base import Message, Options
from providers.chain.fair_semaphore import FairSemaphoreStatistics
from providers.errors import (
    HostExhausted,
    ProviderTimeout,
    ProviderUnavailable,
)
from providers.scripted import ScriptedProvider
from tests.support.chain_harness import (
    ANY,
    DOWN,
    HELLO,
    REFUSED,
    MadeUpTime,
    Way,
    chained,
    chat,
    chatted,
    every_way,
    idle,
    scripted,
    streamed,
    waiting,
)


@pytest.fixture
def time() -> MadeUpTime:
    return MadeUpTime()


# The circuit


@every_way
async def test_a_provider_that_keeps_failing_is_left_alone_for_a_while(
    way: Way, time: MadeUpTime
) -> None:
    first = scripted("first", REFUSED, REFUSED, ["back"])
    chain = chained(time, first, scripted("spare"))
    assert [(await way(chain))[1].provider for _ in range(5)] == ["spare"] * 5
    assert len(first.calls) == 2
    assert chain.statistics()["first"].circuit.state == "open"
    time.now_s += 30
    assert (await way(chain))[1].provider == "first"
    assert chain.statistics()["first"].circuit.state == "closed"


async def test_an_open_circuit_says_when_it_will_try_again(time: MadeUpTime) -> None:
    first = scripted("first", DOWN, max_retries=0)
    chain = chained(time, first)
    for _ in range(2):
        with pytest.raises(ProviderUnavailable, match="Primary is down"):
            await chatted(chain)
    time.now_s += 17.5
    text = "first is not available; trying again in 13 s"
    with pytest.raises(ProviderUnavailable, match=text) as caught:
        await chatted(chain)
    assert caught.value.retry_after_s == 13
    assert len(first.calls) == 2


async def test_a_call_that_waited_for_a_slot_fails_if_the_circuit_has_opened(
    time: MadeUpTime,
) -> None:
    go = asyncio.Event()

    async def script(messages: Sequence[Message], options: Options) -> AsyncIterator[str]:
        await go.wait()
        yield ""
        raise DOWN

    first = ScriptedProvider({"max_concurrency": 2, "max_retries": 0}, name="first", script=script)
    chain = chained(time, first)
    calls = [asyncio.create_task(chatted(chain)) for _ in range(6)]
    await asyncio.sleep(0)
    go.set()
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(error, ProviderUnavailable) for error in errors)
    assert len(first.calls) == 2
    assert idle(chain)


@every_way
async def test_what_this_machine_lacks_never_counts_against_a_provider(
    way: Way, time: MadeUpTime
) -> None:
    spare = scripted("spare")
    chain = chained(time, scripted("first", HostExhausted("no files left")), spare)
    for _ in range(5):
        with pytest.raises(HostExhausted) as caught:
            await way(chain)
        assert (caught.value.code, caught.value.retry_after_s) == ("busy", 1.0)
    assert chain.statistics()["first"].circuit.failures == 0
    assert not spare.calls


# Deadlines


@every_way
@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"timeout": 0.01}, "mute gave no answer within 0.01 s"),
        (
            {"timeout": 0.01, "first_content_timeout": 0.02},
            "mute gave no answer within 0.02 s",
        ),
        ({"total_timeout": 0.01}, "mute did not finish its answer within 0.01 s"),
    ],
)
async def test_a_provider_that_sends_nothing_times_out(
    way: Way, config: dict[str, float], text: str, time: MadeUpTime
) -> None:
    chain = chained(time, waiting("mute", **config))
    with pytest.raises(ProviderTimeout) as caught:
        await way(chain)
    assert str(caught.value) == text
    assert idle(chain)


async def test_blank_pieces_do_not_count_as_an_answer(time: MadeUpTime) -> None:
    chain = chained(time, waiting("mute", "\n", " ", timeout=0.01), scripted("spare"))
    assert (await streamed(chain))[1].provider == "spare"


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (
            {"timeout": 0.01, "first_content_timeout": 30},
            "first stopped in the middle of its answer (no text for 0.01 s)",
        ),
        # Its time counts from the beginning: the first piece must come within it, too.
        ({"total_timeout": 1.0}, "first did not finish its answer within 1 s"),
    ],
)
async def test_a_stream_that_stalls_times_out(
    config: dict[str, float], text: str, time: MadeUpTime
) -> None:
    chain = chained(time, waiting("first", "Well, ", **config), scripted("spare"))
    async with aclosing(chain.stream(HELLO, ANY, channel="#a")) as items:
        assert await anext(items) == "Well, "
        with pytest.raises(ProviderTimeout) as caught:
            await anext(items)
    assert str(caught.value) == text
    assert idle(chain)


async def test_the_wait_for_a_slot_does_not_count_as_time_of_the_call(time: MadeUpTime) -> None:
    async def script(messages: Sequence[Message], options: Options) -> AsyncIterator[str]:
        await asyncio.sleep(0)
        yield "one "
        yield "two"

    config = {"max_concurrency": 1, "total_timeout": 1, "timeout": 1}
    chain = chained(time, ScriptedProvider(config, name="first", script=script))
    async with aclosing(chain.stream(HELLO, ANY, channel="#a")) as items:
        assert await anext(items) == "one "
        other = asyncio.create_task(chat(chain, ANY, "#b"))
        await asyncio.sleep(0)
        assert chain.statistics()["first"].slots == FairSemaphoreStatistics(1, running=1, waiting=1)
        time.now_s += 500
    answered = await other
    assert (answered.completion.content, answered.waited_s) == ("one two", 500)


async def test_the_time_for_the_whole_call_covers_its_retries(time: MadeUpTime) -> None:
    first = scripted("first", DOWN, max_retries=50, total_timeout=20)
    with pytest.raises(ProviderUnavailable):
        await chatted(chained(time, first))
    assert sum(time.slept) < 20
    assert len(first.calls) == 6
