import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import pytest

from providers.base import Completion, Message, Options, Status
from providers.chain.chain import Answered, ProviderChain
from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ConnectionLost,
    ContextTooLong,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
)
from providers.scripted import FAILURES, ScriptedProvider
from tests.support.chain_harness import (
    ANY,
    DOWN,
    HELLO,
    REFUSED,
    MadeUpTime,
    Stranger,
    Way,
    chained,
    chat,
    chatted,
    complete,
    every_way,
    giving,
    idle,
    scripted,
    stranger,
    streamed,
)


@pytest.fixture
def time() -> MadeUpTime:
    return MadeUpTime()


# The usual way


@every_way
async def test_the_first_provider_answers(way: Way, time: MadeUpTime) -> None:
    spare = scripted("spare")
    chain = chained(time, scripted("first"), spare)
    _, answered = await way(chain, Options(model="m"))
    assert answered == Answered(
        answered.completion, "first", attempts=1, waited_s=0, temperature=0.7, max_tokens=None
    )
    assert (answered.completion.content, answered.completion.model) == ("You said: hello", "m")
    assert not spare.calls
    assert idle(chain)


async def test_a_stream_gives_its_pieces_and_then_the_answer(time: MadeUpTime) -> None:
    pieces, answered = await streamed(chained(time, scripted("first")))
    assert pieces == ["You ", "said: ", "hello"]
    assert answered.completion.content == "You said: hello"
    assert answered.completion.usage is not None


async def test_blank_pieces_at_the_start_are_joined_to_the_first_that_shows(
    time: MadeUpTime,
) -> None:
    chain = chained(time, scripted("first", ["\n", " ", "a ", "", "b"]))
    pieces, answered = await streamed(chain)
    assert pieces == ["\n a ", "b"]
    assert answered.completion.content == "\n a b"


async def test_the_budget_and_the_primary_are_the_first_providers(time: MadeUpTime) -> None:
    first = scripted("first", context_tokens=100, model_context_tokens={"big": 900})
    chain = chained(time, first, scripted("spare", context_tokens=5))
    assert chain.primary is first
    assert (chain.context_tokens(None), chain.context_tokens("big")) == (100, 900)


def test_a_chain_needs_providers_of_different_names() -> None:
    with pytest.raises(ValueError, match="needs a provider"):
        ProviderChain([])
    with pytest.raises(ValueError, match="different names"):
        ProviderChain([ScriptedProvider(), ScriptedProvider()])


# Trying again and falling over


@every_way
async def test_a_failure_that_waiting_cures_is_tried_again(way: Way, time: MadeUpTime) -> None:
    chain = chained(time, scripted("first", DOWN, RateLimited("429", retry_after_s=9), ["ok"]))
    _, answered = await way(chain)
    assert (answered.completion.content, answered.attempts) == ("ok", 3)
    assert time.slept == [0.5, 9]


@every_way
@pytest.mark.parametrize(
    ("error", "first_calls"),
    [
        (DOWN, 3),
        (REFUSED, 1),
        (ConnectionLost("lost"), 3),
        (RateLimited("429"), 3),
        (RateLimited("429", retry_after_s=3600), 1),
        (ProviderTimeout("late"), 1),
        (BadAnswer("odd"), 1),
        (ProviderError("a stranger's"), 1),
        (TypeError("a stranger's defect"), 1),
    ],
    ids=lambda value: str(value),
)
async def test_the_next_provider_answers_if_the_first_cannot(
    way: Way, error: Exception, first_calls: int, time: MadeUpTime
) -> None:
    first = scripted("first", error)
    chain = chained(time, first, scripted("spare"))
    _, answered = await way(chain)
    assert (answered.provider, answered.attempts) == ("spare", first_calls + 1)
    assert len(first.calls) == first_calls
    assert idle(chain)


@every_way
async def test_a_refused_call_is_made_again_if_no_other_provider_could_answer(
    way: Way, time: MadeUpTime
) -> None:
    first = scripted("first", REFUSED, REFUSED, ["ok"])
    assert (await way(chained(time, first)))[1].attempts == 3

    first = scripted("first", BadAnswer("a"), BadAnswer("b"), REFUSED, ["ok"])
    chain = chained(time, first, scripted("spare", ConnectionLost("lost")))
    for _ in range(2):
        with pytest.raises(BadAnswer):
            await way(chain)
    assert chain.statistics()["spare"].circuit.state == "open"
    assert (await way(chain))[1].attempts == 2


@every_way
async def test_a_fallback_uses_its_own_model_but_the_requests_other_options(
    way: Way, time: MadeUpTime
) -> None:
    spares = [scripted("second", BadAnswer("odd")), scripted("third", default_model="mine")]
    chain = chained(time, scripted("first", DOWN), *spares)
    _, answered = await way(chain, Options(model="m", temperature=1.5, max_tokens=2))
    assert (answered.provider, answered.completion.model) == ("third", "mine")
    assert answered.completion.finish_reason == "length"
    for spare in spares:
        assert [call.options for call in spare.calls] == [Options(None, 1.5, 2)]


@every_way
async def test_if_all_fail_the_first_failure_is_raised(
    way: Way, time: MadeUpTime, caplog: pytest.LogCaptureFixture
) -> None:
    first = ProviderTimeout("First: 504 Gateway Timeout", status=504)
    for error in (RateLimited("Spare: 429"), AuthenticationFailed("Spare: 401", status=401)):
        chain = chained(time, scripted("first", first), scripted("spare", error))
        with pytest.raises(ProviderTimeout) as caught:
            await way(chain)
        assert caught.value is first
        assert f"Provider spare failed as well: {error}" in caplog.messages


async def test_a_prompt_too_long_for_the_last_provider_is_reported_so_that_it_can_be_cut(
    time: MadeUpTime,
) -> None:
    chain = chained(time, scripted("first", DOWN), scripted("spare", ContextTooLong("too long")))
    with pytest.raises(ContextTooLong):
        await chatted(chain)


async def test_after_the_first_piece_a_failure_ends_the_stream(time: MadeUpTime) -> None:
    async def script(messages: Sequence[Message], options: Options) -> AsyncIterator[str]:
        yield "Well, "
        raise DOWN

    first, spare = ScriptedProvider(name="first", script=script), scripted("spare")
    chain = chained(time, first, spare)
    async with aclosing(chain.stream(HELLO, ANY, channel="#a")) as items:
        assert await anext(items) == "Well, "
        with pytest.raises(ProviderUnavailable):
            await anext(items)
    assert len(first.calls) == 1
    assert not spare.calls
    assert idle(chain)


@every_way
async def test_passing_over_is_logged_once_and_so_is_the_return(
    way: Way, time: MadeUpTime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rosey_llm.providers")
    odd = BadAnswer("Ollama error: 500")
    chain = chained(time, scripted("ollama", odd, odd, ["ok"]), scripted("local"))
    for _ in range(4):
        await way(chain)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            "Provider ollama gave no usable answer; answering with local. (Ollama error: 500)",
        ),
        ("WARNING", "Provider ollama answers again."),
    ]


# Starting, closing, statuses


async def test_statuses_are_asked_of_all_and_never_raise(time: MadeUpTime) -> None:
    chain = chained(
        time, scripted("fine"), scripted("sick", fail="provider_auth"), stranger(giving(OSError()))
    )
    assert await chain.statuses() == {
        "fine": Status(True),
        "sick": Status(False, "sick fails as configured (provider_auth)", misconfigured=True),
        "stranger": Status(False, "stranger failed: OSError"),
    }


class Reluctant(Stranger):
    error: BaseException

    async def start(self) -> None:
        raise self.error

    async def aclose(self) -> None:
        await super().aclose()
        raise self.error


def reluctant(error: BaseException) -> Reluctant:
    provider = Reluctant(name="reluctant")
    provider.error = error
    return provider


async def test_a_provider_starts_before_its_first_call_and_a_spare_one_only_when_needed(
    time: MadeUpTime,
) -> None:
    answer = giving(Completion("hi", "m"))
    first, spare = stranger(answer), stranger(answer)
    first.name = "first"
    chain = chained(time, first, spare)
    await chain.start()
    await chain.start()
    await chatted(chain)
    assert (first.started, spare.started) == (1, 0)
    down = chained(time, scripted("down", fail="provider_timeout"), spare)
    await chatted(down)
    await chatted(down)
    assert spare.started == 1


async def test_a_provider_that_does_not_start_is_logged_and_tried_again_by_the_next_call(
    time: MadeUpTime, caplog: pytest.LogCaptureFixture
) -> None:
    chain = chained(time, reluctant(DOWN), scripted("second"))
    await chain.start()
    assert "Provider reluctant: Primary is down" in caplog.messages
    answered = await chat(chain, ANY)
    assert answered.provider == "second"


async def test_closing_reaches_every_provider_and_may_be_repeated(time: MadeUpTime) -> None:
    providers = [reluctant(OSError()), stranger(None)]
    chain = chained(time, *providers)
    await chain.aclose()
    await chain.aclose()
    assert [provider.closed for provider in providers] == [2, 2]


@pytest.mark.parametrize("code", FAILURES)
async def test_every_code_of_the_contract_comes_through(code: str, time: MadeUpTime) -> None:
    with pytest.raises(FAILURES[code]):
        await chatted(chained(time, scripted("first", fail=code)))


async def test_many_calls_at_once_all_get_their_own_answers(time: MadeUpTime) -> None:
    chain = chained(time, scripted("first", max_concurrency=3))

    async def asked(number: int) -> str:
        answered = await complete(chain, str(number), ANY, f"#{number % 7}")
        return answered.completion.content

    answers = await asyncio.gather(*(asked(number) for number in range(200)))
    assert answers == [f"You said: {number}" for number in range(200)]
    assert idle(chain)
