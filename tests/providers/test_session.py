"""Answers of all providers over HTTP, whole and streamed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from providers.base import Completion, Message, Options, Usage
from providers.errors import (
    BadAnswer,
)
from providers.http.provider import HttpProvider
from providers.http.session import Session
from tests.fakes.llm_answers import COMPLETION_TOKENS, PROMPT_TOKENS
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.dialects import (
    HELLO,
    Asking,
    Dialect,
    both_ways,
    by_chat,
)


@both_ways
async def test_an_answer_has_text_model_reason_and_usage(
    provider: HttpProvider, ask: Asking
) -> None:
    completion = await ask(provider)
    assert completion == Completion(
        "You said: Hello there",
        provider.config.default_model,
        "stop",
        Usage(PROMPT_TOKENS, COMPLETION_TOKENS),
    )


@both_ways
async def test_the_prompt_is_sent_unchanged(
    provider: HttpProvider, server: LLMServer, ask: Asking
) -> None:
    await ask(provider)
    assert server.prompts == [
        [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hello there"},
        ]
    ]


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_piece_is_yielded_before_the_provider_writes_the_next_one(
    provider: HttpProvider, server: LLMServer, count: int
) -> None:
    more = asyncio.Event()
    written = ["Grü", "ße,", "", " \u2028🙂"]
    server.plan(Behaviour(pieces=written, hold=more, hold_after=count))
    early, late = "", []
    async with aclosing(provider.stream(HELLO, Options())) as items:  # type: ignore[type-var]
        while early != "".join(written[:count]):
            early += str(await anext(items))
        more.set()
        late = [item async for item in items]
    assert isinstance(late[-1], Completion)
    assert all(late)
    assert late[-1].content == early + "".join(map(str, late[:-1])) == "Grüße, \u2028🙂"


async def test_a_raw_completion_holds_the_prompt_alone(
    provider: HttpProvider, server: LLMServer
) -> None:
    completion = await provider.complete("Once upon", Options(max_tokens=5))
    assert completion.content == "You said: Once upon"
    assert server.prompts == [[{"role": "user", "content": "Once upon"}]]


async def test_options_go_before_the_configuration(dialect: Dialect, server: LLMServer) -> None:
    async with dialect.at(server.url, temperature=0.1) as provider:
        await provider.chat(HELLO, Options(model="other", temperature=1.5))
        await provider.chat(HELLO, Options())
    bodies = [r.body for r in server.requests if "messages" in r.body]
    assert [body["model"] for body in bodies] == ["other", provider.config.default_model]
    temperatures = [body.get("options", body)["temperature"] for body in bodies]
    assert temperatures == [1.5, 0.1]


@both_ways
async def test_thinking_in_front_of_an_answer_is_not_shown(
    provider: HttpProvider, server: LLMServer, ask: Asking
) -> None:
    server.plan(Behaviour(pieces=["<thi", "nk>Hm", ".</thi", "nk>\n\n", "Hi <b", "> </think>"]))
    assert (await ask(provider)).content == "Hi <b> </think>"


@both_ways
async def test_an_answer_cut_by_max_tokens_has_the_reason_length(
    provider: HttpProvider, server: LLMServer, ask: Asking
) -> None:
    server.plan(Behaviour(finish_reason="length"))
    assert (await ask(provider)).finish_reason == "length"


@both_ways
async def test_an_unknown_finish_reason_is_other(
    provider: HttpProvider, server: LLMServer, ask: Asking
) -> None:
    server.plan(Behaviour(finish_reason="tired"))
    assert (await ask(provider)).finish_reason == "other"


@both_ways
@pytest.mark.parametrize("text", ["", "  \n", "<think>never closed"])
async def test_an_empty_answer_is_an_error(
    provider: HttpProvider, server: LLMServer, ask: Asking, text: str
) -> None:
    server.plan(Behaviour(text=text))
    with pytest.raises(BadAnswer, match=f"^{provider.label} gave an empty answer"):
        await ask(provider)


@both_ways
async def test_an_answer_that_ends_with_its_connection_is_whole(
    provider: HttpProvider, server: LLMServer, ask: Asking
) -> None:
    server.plan(Behaviour(cut_cleanly=True))
    assert (await ask(provider)).content == "You said: Hello there"


async def test_calls_side_by_side_do_not_mix(provider: HttpProvider, server: LLMServer) -> None:
    server.reply = lambda body: f"echo {body['messages'][-1]['content']}"
    prompts = [[Message("user", str(number))] for number in range(50)]
    completions = await asyncio.gather(*(provider.chat(p, Options()) for p in prompts))
    assert [c.content for c in completions] == [f"echo {number}" for number in range(50)]


async def test_one_connection_serves_calls_one_after_another(
    provider: HttpProvider, server: LLMServer
) -> None:
    for _ in range(3):
        await by_chat(provider)
    assert server.connections == 1
    assert server.disconnects == 0


@pytest.mark.parametrize(("keeps", "connections"), [(True, [1, 1, 1]), (None, [1, 2, 2])])
async def test_a_drained_reply_leaves_its_connection_to_the_next_call(
    server: LLMServer, keeps: bool | None, connections: list[int]
) -> None:
    session = Session(label="Nobody", keeps_after_stream=keeps)
    url = f"{server.url}/v1/chat/completions"
    body = {"stream": True, "messages": []}
    counted = []
    try:
        for _ in range(3):
            with await session.post_stream(url, body) as reply:
                await reply.drain()
            counted.append(server.connections)
    finally:
        await session.aclose()
    assert counted == connections


async def test_a_reply_that_is_not_read_to_its_end_closes_its_connection(
    server: LLMServer,
) -> None:
    session = Session(label="Nobody", keeps_after_stream=True)
    server.plan(Behaviour(hang_after=1))
    url = f"{server.url}/v1/chat/completions"
    try:
        with await session.post_stream(url, {"stream": True, "messages": []}):
            pass
        await server.wait_for_disconnects(1)
        await session.post_json(url, {"messages": []})
    finally:
        await session.aclose()
    assert server.connections == 2
