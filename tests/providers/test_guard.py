import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from providers.base import Completion, Message, Options
from providers.errors import (
    BadAnswer,
    IncompleteAnswer,
    ProviderError,
    ProviderTimeout,
)
from providers.ollama import OllamaProvider
from providers.scripted import ScriptedProvider
from tests.fakes.llm_server import LLMServer
from tests.support.chain_harness import (
    ANY,
    DOWN,
    HELLO,
    WAYS,
    MadeUpTime,
    Stranger,
    Way,
    chained,
    chatted,
    every_way,
    giving,
    idle,
    scripted,
    stranger,
    streamed,
    waiting,
)


@pytest.fixture
def time() -> MadeUpTime:
    return MadeUpTime()


NO_TEXT = "stranger failed: its answer is not valid Unicode text"

# Providers of other authors


@every_way
@pytest.mark.parametrize(
    ("act", "text"),
    [
        (giving(TypeError("odd")), "stranger failed: TypeError"),
        (giving(TimeoutError()), "stranger failed: TimeoutError"),
        (giving(ExceptionGroup("many", [OSError()])), "stranger failed: ExceptionGroup"),
        (3, "stranger failed: TypeError"),
        (giving(Completion("", "m")), "stranger gave an empty answer"),
        (giving(Completion(" \n", "m")), "stranger gave an empty answer"),
        (giving(asyncio.CancelledError()), "stranger failed: CancelledError"),
        (giving(Completion("Hi \ud83d", "m")), NO_TEXT),
        (giving(Completion("Hi", "\udc80")), NO_TEXT),
        (giving(Completion(None, "m")), NO_TEXT),  # type: ignore[arg-type]
    ],
    ids=lambda value: str(value)[:20],
)
async def test_a_strangers_failure_is_a_bad_answer(
    way: Way, act: Any, text: str, time: MadeUpTime, caplog: pytest.LogCaptureFixture
) -> None:
    chain = chained(time, stranger(act))
    with pytest.raises(BadAnswer) as caught:
        await way(chain)
    assert str(caught.value) == text
    traces = [record for record in caplog.records if record.exc_info]
    assert len(traces) == (1 if "failed" in text and text != NO_TEXT else 0)
    assert idle(chain)


async def test_a_provider_without_streaming_gives_its_answer_in_one_piece(
    time: MadeUpTime,
) -> None:
    pieces, answered = await streamed(chained(time, stranger(giving(Completion("Hi.", "m")))))
    assert (pieces, answered.completion) == (["Hi."], Completion("Hi.", "m"))


class Odd(Stranger):
    """A provider that streams the given items."""

    items: Sequence[Any] = ()
    stopped = 0

    async def stream(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        try:
            for item in self.items:
                yield item
        finally:
            self.stopped += 1


def odd(*items: Any, **config: Any) -> Odd:
    provider = Odd(config)
    provider.items = items
    return provider


@pytest.mark.parametrize(
    ("items", "error", "text"),
    [
        ([], BadAnswer, "stranger gave an empty answer"),
        (["", " "], BadAnswer, "stranger gave an empty answer"),
        ([Completion("", "m")], BadAnswer, "stranger gave an empty answer"),
        (["a", "b"], IncompleteAnswer, "stranger broke off in the middle of its answer"),
        (["a", 3], BadAnswer, "stranger failed: its token stream gave int"),
        (["a", "\ud83d"], BadAnswer, NO_TEXT),
        (["a", Completion("a", 3)], BadAnswer, NO_TEXT),  # type: ignore[arg-type]
    ],
)
async def test_a_token_stream_must_keep_the_rules(
    items: list[Any], error: type[ProviderError], text: str, time: MadeUpTime
) -> None:
    provider = odd(*items, max_retries=0)
    with pytest.raises(error) as caught:
        await streamed(chained(time, provider))
    assert str(caught.value) == text
    assert provider.stopped == 1
    if isinstance(caught.value, IncompleteAnswer):
        assert caught.value.partial == "ab"


@pytest.mark.parametrize(
    ("items", "pieces"),
    [
        ([Completion("whole", "m")], ["whole"]),
        (["a", "", "b", Completion("a b", "m")], ["a", "b"]),
        (["a", Completion("", "m"), "too late"], ["a"]),
    ],
)
async def test_the_answer_is_what_the_pieces_join_to(
    items: list[Any], pieces: list[str], time: MadeUpTime
) -> None:
    got, answered = await streamed(chained(time, odd(*items)))
    assert got == pieces
    assert answered.completion.content == "".join(pieces)


async def test_a_provider_may_finish_its_work_after_the_completion(time: MadeUpTime) -> None:
    finished: list[str] = []

    class Tidy(Odd):
        async def stream(
            self, messages: Sequence[Message], options: Options
        ) -> AsyncIterator[str | Completion]:
            yield "Hi"
            yield Completion("Hi", "m")
            await asyncio.sleep(0)
            finished.append("connection given back")
            raise OSError("after the answer nobody cares")

    for _ in range(2):
        assert (await streamed(chained(time, Tidy())))[0] == ["Hi"]
    assert len(finished) == 2


async def test_a_connection_is_used_again_for_the_next_answer(time: MadeUpTime) -> None:
    async with LLMServer() as server, OllamaProvider({"base_url": server.url}) as ollama:
        chain = chained(time, ollama)
        for way in WAYS * 2:
            await way(chain)
        assert server.connections == 1


# Stopping


@pytest.mark.parametrize("read", [0, 1, 2])
async def test_a_stream_that_is_closed_early_stops_the_provider_and_frees_its_slot(
    read: int, time: MadeUpTime
) -> None:
    closed: list[str] = []

    async def script(messages: Sequence[Message], options: Options) -> AsyncIterator[str]:
        try:
            yield "one "
            yield "two "
            await asyncio.Event().wait()
        finally:
            closed.append("closed")

    first = ScriptedProvider({"max_concurrency": 1}, name="first", script=script)
    chain = chained(time, first)
    for _ in range(3):
        async with aclosing(chain.stream(HELLO, ANY, channel="#a")) as items:
            for _ in range(read):
                await anext(items)
        assert idle(chain)
    assert closed == ["closed"] * (3 if read else 0)
    assert chain.statistics()["first"].circuit.failures == 0


async def test_a_stream_that_is_dropped_is_closed_too(time: MadeUpTime) -> None:
    chain = chained(time, waiting("first", "one ", "two "))
    items = chain.stream(HELLO, ANY, channel="#a")
    assert await anext(items) == "one "
    del items
    gc.collect()
    for _ in range(50):
        await asyncio.sleep(0)
    assert idle(chain)


@every_way
@pytest.mark.parametrize("steps", range(12))
async def test_a_cancelled_call_ends_at_once_and_frees_its_slot(
    way: Way, steps: int, time: MadeUpTime
) -> None:
    first, spare = waiting("first", "one ", "two ", max_concurrency=1), scripted("spare")
    chain = chained(time, first, spare)
    calls = [asyncio.create_task(way(chain)) for _ in range(3)]
    for _ in range(steps):
        await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    assert idle(chain)
    assert not spare.calls
    assert chain.statistics()["first"].circuit.failures == 0


async def suppresses_cancellation() -> Completion:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return Completion("I go on", "m")
    raise AssertionError


async def turns_cancellation_into_an_error() -> Completion:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise DOWN from None
    raise AssertionError


@every_way
@pytest.mark.parametrize("act", [suppresses_cancellation, turns_cancellation_into_an_error])
async def test_a_provider_cannot_suppress_its_callers_cancellation(
    way: Way, act: Any, time: MadeUpTime
) -> None:
    spare = scripted("spare")
    call = asyncio.create_task(way(chained(time, stranger(act), spare)))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not spare.calls


@every_way
async def test_a_provider_cannot_hide_that_it_was_late(way: Way, time: MadeUpTime) -> None:
    chain = chained(time, stranger(turns_cancellation_into_an_error, timeout=0.01))
    with pytest.raises(ProviderTimeout):
        await way(chain)


async def test_a_callers_own_deadline_is_the_callers(time: MadeUpTime) -> None:
    chain = chained(time, waiting("first"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await chatted(chain)
    assert idle(chain)
