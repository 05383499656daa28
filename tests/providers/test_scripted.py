import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, cast

import pytest

from providers.base import Completion, Message, Options, Usage
from providers.errors import ProviderError, RateLimited
from providers.scripted import CALLS_KEPT, FAILURES, Call, ScriptedProvider
from providers.validation import ValidationError

HELLO = [Message("system", "Be brief."), Message("user", "hello  there\nfriend")]


async def streamed(
    provider: ScriptedProvider, options: Options | None = None
) -> tuple[list[str], Completion]:
    items = [item async for item in provider.stream(HELLO, options or Options())]
    return cast("list[str]", items[:-1]), cast("Completion", items[-1])


async def test_it_repeats_the_newest_user_message() -> None:
    completion = await ScriptedProvider().chat(HELLO, Options())
    assert completion == Completion(
        "You said: hello  there\nfriend", "scripted", "stop", Usage(5, 5)
    )


async def test_only_the_message_is_replaced_in_the_reply() -> None:
    provider = ScriptedProvider({"reply": "{0} {x} {message}"})
    assert (await provider.complete("a {b}", Options())).content == "{0} {x} a {b}"


@pytest.mark.parametrize(
    ("words", "pieces"),
    [
        (1, ["You ", "said: ", "hello  ", "there\n", "friend"]),
        (2, ["You said: ", "hello  there\n", "friend"]),
        (9, ["You said: hello  there\nfriend"]),
    ],
)
async def test_a_piece_has_as_many_words_as_configured(words: int, pieces: list[str]) -> None:
    got, completion = await streamed(ScriptedProvider({"chunk_words": words}))
    assert got == pieces
    assert completion.content == "".join(pieces)


@pytest.mark.parametrize(
    ("most", "content", "reason"),
    [
        (1, "You", "length"),
        (4, "You said: hello  there", "length"),
        (5, "You said: hello  there\nfriend", "stop"),
        (6, "You said: hello  there\nfriend", "stop"),
    ],
)
@pytest.mark.parametrize("words", [1, 2, 9])
async def test_max_tokens_cuts_words(most: int, content: str, reason: str, words: int) -> None:
    provider = ScriptedProvider({"chunk_words": words})
    pieces, completion = await streamed(provider, Options(max_tokens=most))
    assert "".join(pieces).rstrip() == completion.content.rstrip() == content
    assert completion.finish_reason == reason
    assert completion.usage == Usage(5, min(most, 5))
    assert all(pieces)


@pytest.mark.parametrize("code", FAILURES)
async def test_it_fails_as_configured(code: str) -> None:
    provider = ScriptedProvider({"fail": code}, name="flaky")
    with pytest.raises(FAILURES[code], match=rf"flaky fails as configured \({code}\)") as caught:
        await provider.chat(HELLO, Options())
    assert caught.value.code == code
    with pytest.raises(FAILURES[code]):
        await streamed(provider)
    assert not await provider.is_available()
    assert code in (await provider.status()).detail


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"fail": "nope"}, 'providers.scripted.fail: expected "" or "provider_unavailable" or'),
        ({"delay": -1}, "providers.scripted.delay: expected 0 or more, got -1"),
        ({"chunk_words": 0}, "providers.scripted.chunk_words: expected 1 or more, got 0"),
        ({"replay": "x"}, 'providers.scripted.replay: unknown key; did you mean "reply"?'),
    ],
)
def test_a_wrong_setting_is_named(config: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ScriptedProvider(config)
    assert str(caught.value).startswith(text)


async def test_a_script_may_wait_and_fail() -> None:
    go = asyncio.Event()

    async def script(messages: Sequence[Message], options: Options) -> AsyncIterator[str]:
        yield f"{len(messages)} "
        await go.wait()
        raise RateLimited("slow down", retry_after_s=2)

    provider = ScriptedProvider(script=script)
    stream = aiter(provider.stream(HELLO, Options()))
    assert await anext(stream) == "2 "
    go.set()
    with pytest.raises(RateLimited, match="slow down"):
        await anext(stream)


async def test_a_stream_that_is_closed_early_closes_its_script() -> None:
    closed = asyncio.Event()

    async def script(messages: Sequence[Message], options: Options) -> AsyncIterator[str]:
        try:
            for word in ("one ", "two ", "three"):
                yield word
        finally:
            closed.set()

    provider = ScriptedProvider(script=script)
    stream = cast("Any", provider.stream(HELLO, Options()))
    async with aclosing(stream):
        assert await anext(stream) == "one "
    assert closed.is_set()
    assert (await provider.chat(HELLO, Options())).content == "one two three"


async def test_a_script_may_be_any_iterator() -> None:
    class Words:
        def __init__(self) -> None:
            self.left = ["a ", "b"]

        def __aiter__(self) -> AsyncIterator[str]:
            return self

        async def __anext__(self) -> str:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    provider = ScriptedProvider(script=lambda messages, options: Words())
    assert (await provider.chat(HELLO, Options())).content == "a b"


async def test_it_keeps_its_calls() -> None:
    provider = ScriptedProvider({"default_model": "tiny"})
    options = Options(model="big", temperature=0.5)
    await provider.chat(HELLO, Options())
    await streamed(provider, options)
    assert (await provider.complete("go on", options)).model == "big"
    assert list(provider.calls) == [
        Call(tuple(HELLO), Options(), "chat"),
        Call(tuple(HELLO), options, "stream"),
        Call((Message("user", "go on"),), options, "complete"),
    ]
    assert await provider.models() == ["tiny"]


async def test_it_keeps_only_the_newest_calls() -> None:
    provider = ScriptedProvider({"fail": "provider_auth"})
    for number in range(CALLS_KEPT + 1):
        with pytest.raises(ProviderError):
            await provider.complete(str(number), Options())
    assert len(provider.calls) == CALLS_KEPT
    assert provider.calls[0].messages[0].content == "1"


async def test_delays_do_not_change_the_answer() -> None:
    provider = ScriptedProvider({"delay": 0.001, "chunk_delay": 0.001})
    assert (await streamed(provider))[1].content == "You said: hello  there\nfriend"


async def test_a_blank_reply_is_a_blank_completion() -> None:
    assert await streamed(ScriptedProvider({"reply": ""})) == (
        [],
        Completion("", "scripted", "stop", Usage(5, 0)),
    )
