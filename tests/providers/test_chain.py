import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from providers.base import Completion, LLMProvider, Message, Options, Status
from providers.chain import Answered, ProviderChain
from providers.circuit import Circuit
from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ConnectionLost,
    ContextTooLong,
    IncompleteAnswer,
    ModelNotFound,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)
from providers.ollama import OllamaProvider
from providers.retry import Retry
from providers.scripted import FAILURES, Script, ScriptedProvider
from providers.slots import SlotsStatistics
from tests.fakes.llm_server import LLMServer

HELLO = [Message("user", "hello")]
ANY = Options()
DOWN = ProviderUnavailable("Primary is down")
REFUSED = ProviderUnavailable("Primary refused", refused=True)


class MadeUpTime:
    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []

    async def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        self.now_s += delay_s

    @property
    def retry(self) -> Retry:
        return Retry(sleep=self.sleep, clock=lambda: self.now_s, chance=lambda: 0.0)

    def circuit(self) -> Circuit:
        return Circuit(failures=2, cooldown_s=30, clock=lambda: self.now_s)


@pytest.fixture
def time() -> MadeUpTime:
    return MadeUpTime()


def in_turn(*acts: Exception | list[str]) -> Script:
    """A script whose first call does the first act, and so on; the last act goes on for ever."""
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


def chained(time: MadeUpTime, *providers: LLMProvider) -> ProviderChain:
    return ProviderChain(providers, circuit=time.circuit, retry=time.retry)


async def streamed(chain: ProviderChain, options: Options = ANY) -> tuple[list[str], Answered]:
    pieces: list[str] = []
    async with aclosing(chain.stream(HELLO, options, channel="#a")) as items:
        async for item in items:
            if isinstance(item, Answered):
                return pieces, item
            pieces.append(item)
    raise AssertionError("no Answered came")


async def chatted(chain: ProviderChain, options: Options = ANY) -> tuple[list[str], Answered]:
    return [], await chain.chat(HELLO, options, channel="#a")


async def completed(chain: ProviderChain, options: Options = ANY) -> tuple[list[str], Answered]:
    return [], await chain.complete("hello", options, channel="#a")


WAYS = [streamed, chatted, completed]
Way = Callable[..., Any]
every_way = pytest.mark.parametrize("way", WAYS, ids=["stream", "chat", "complete"])


def idle(chain: ProviderChain) -> bool:
    statistics = [link.slots for link in chain.statistics().values()]
    return all((slots.running, slots.waiting) == (0, 0) for slots in statistics)


# The usual way


@every_way
async def test_the_first_provider_answers(way: Way, time: MadeUpTime) -> None:
    spare = scripted("spare")
    chain = chained(time, scripted("first"), spare)
    _, answered = await way(chain, Options(model="m"))
    assert answered == Answered(answered.completion, "first", attempts=1, waited_s=0)
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
        (ConnectionLost("lost"), 1),
        (RateLimited("429"), 3),
        (RateLimited("429", retry_after_s=3600), 1),
        (QuotaExhausted("402"), 1),
        (AuthenticationFailed("401"), 1),
        (ProviderTimeout("late"), 1),
        (ModelNotFound("404"), 1),
        (BadAnswer("odd"), 1),
        (TypeError("a stranger's defect"), 1),
    ],
    ids=lambda value: str(value),
)
async def test_the_next_provider_answers_where_the_first_cannot(
    way: Way, error: Exception, first_calls: int, time: MadeUpTime
) -> None:
    first = scripted("first", error)
    chain = chained(time, first, scripted("spare"))
    _, answered = await way(chain)
    assert (answered.provider, answered.attempts) == ("spare", first_calls + 1)
    assert len(first.calls) == first_calls
    assert idle(chain)


@every_way
@pytest.mark.parametrize(
    ("error", "options"),
    [
        (ContextTooLong("too long"), ANY),
        (IncompleteAnswer("cut", partial="a"), ANY),
        (ModelNotFound("no such model"), Options(model="m")),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_some_failures_are_the_callers_to_hear(
    way: Way, error: ProviderError, options: Options, time: MadeUpTime
) -> None:
    spare = scripted("spare")
    with pytest.raises(type(error)) as caught:
        await way(chained(time, scripted("first", error), spare), options)
    assert caught.value is error
    assert not spare.calls


@every_way
async def test_a_refused_call_is_made_again_where_no_other_provider_could_answer(
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
async def test_where_all_fail_the_first_failure_is_told(
    way: Way, time: MadeUpTime, caplog: pytest.LogCaptureFixture
) -> None:
    first = AuthenticationFailed("First: 401 Unauthorized", status=401)
    chain = chained(time, scripted("first", first), scripted("spare", RateLimited("Spare: 429")))
    with pytest.raises(AuthenticationFailed) as caught:
        await way(chain)
    assert caught.value is first
    assert "Provider spare failed as well: Spare: 429" in caplog.messages


async def test_a_prompt_too_long_for_the_last_resort_is_told_so_that_it_can_be_cut(
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
            "Provider ollama is not available; answering with local. (Ollama error: 500)",
        ),
        ("INFO", "Provider ollama answers again."),
    ]


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


async def test_what_waited_for_a_slot_does_not_run_into_an_open_circuit(time: MadeUpTime) -> None:
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


# Deadlines


def waiting(name: str, *pieces: str, **config: Any) -> ScriptedProvider:
    """Says these pieces and then nothing more, for ever."""

    async def script(messages: Sequence[Message], options: Options) -> AsyncIterator[str]:
        for piece in pieces:
            yield piece
        await asyncio.Event().wait()

    return ScriptedProvider(config, name=name, script=script)


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
async def test_a_provider_that_says_nothing_is_given_up(
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
        ({"total_timeout": 0.01}, "first did not finish its answer within 0.01 s"),
    ],
)
async def test_a_stream_that_stalls_is_given_up(
    config: dict[str, float], text: str, time: MadeUpTime
) -> None:
    chain = chained(time, waiting("first", "Well, ", **config), scripted("spare"))
    async with aclosing(chain.stream(HELLO, ANY, channel="#a")) as items:
        assert await anext(items) == "Well, "
        with pytest.raises(ProviderTimeout) as caught:
            await anext(items)
    assert str(caught.value) == text
    assert idle(chain)


async def test_waiting_for_a_slot_is_not_the_calls_time(time: MadeUpTime) -> None:
    async def script(messages: Sequence[Message], options: Options) -> AsyncIterator[str]:
        await asyncio.sleep(0)
        yield "one "
        yield "two"

    config = {"max_concurrency": 1, "total_timeout": 1, "timeout": 1}
    chain = chained(time, ScriptedProvider(config, name="first", script=script))
    async with aclosing(chain.stream(HELLO, ANY, channel="#a")) as items:
        assert await anext(items) == "one "
        other = asyncio.create_task(chain.chat(HELLO, ANY, channel="#b"))
        await asyncio.sleep(0)
        assert chain.statistics()["first"].slots == SlotsStatistics(1, running=1, waiting=1)
        time.now_s += 500
    answered = await other
    assert (answered.completion.content, answered.waited_s) == ("one two", 500)


async def test_the_time_for_the_whole_call_covers_its_retries(time: MadeUpTime) -> None:
    first = scripted("first", DOWN, max_retries=50, total_timeout=20)
    with pytest.raises(ProviderUnavailable):
        await chatted(chained(time, first))
    assert sum(time.slept) < 20
    assert len(first.calls) == 6


# Strangers


class Stranger(LLMProvider):
    """A third party's provider that does whatever the test says."""

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
    assert len(traces) == (1 if "failed" in text else 0)
    assert idle(chain)


async def test_a_provider_without_streaming_gives_its_answer_in_one_piece(
    time: MadeUpTime,
) -> None:
    pieces, answered = await streamed(chained(time, stranger(giving(Completion("Hi.", "m")))))
    assert (pieces, answered.completion) == (["Hi."], Completion("Hi.", "m"))


class Odd(Stranger):
    """Streams these items."""

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


def odd(*items: Any) -> Odd:
    provider = Odd()
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
    ],
)
async def test_a_token_stream_is_held_to_its_promise(
    items: list[Any], error: type[ProviderError], text: str, time: MadeUpTime
) -> None:
    provider = odd(*items)
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


async def eats_cancellation() -> Completion:
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
@pytest.mark.parametrize("act", [eats_cancellation, turns_cancellation_into_an_error])
async def test_a_provider_cannot_eat_its_callers_cancellation(
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


# Starting, closing, looking


async def test_statuses_are_asked_of_all_and_never_raise(time: MadeUpTime) -> None:
    chain = chained(
        time, scripted("fine"), scripted("sick", fail="provider_auth"), stranger(giving(OSError()))
    )
    assert await chain.statuses() == {
        "fine": Status(True),
        "sick": Status(False, "sick fails as told (provider_auth)"),
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


async def test_a_provider_that_is_not_there_yet_does_not_stop_the_start(
    time: MadeUpTime, caplog: pytest.LogCaptureFixture
) -> None:
    other = stranger(None)
    await chained(time, reluctant(DOWN), other).start()
    assert other.started == 1
    assert "Provider reluctant: Primary is down" in caplog.messages


async def test_a_start_that_fails_for_good_closes_what_was_started(time: MadeUpTime) -> None:
    first = stranger(None)
    with pytest.raises(OSError, match="no port"):
        await chained(time, first, reluctant(OSError("no port"))).start()
    assert (first.started, first.closed) == (1, 1)


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
        answered = await chain.complete(str(number), ANY, channel=f"#{number % 7}")
        return answered.completion.content

    answers = await asyncio.gather(*(asked(number) for number in range(200)))
    assert answers == [f"You said: {number}" for number in range(200)]
    assert idle(chain)
