"""Tests of the rules that all providers over HTTP share, each run over all of them."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from providers.base import Completion, Message, Options, Usage
from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ConnectionLost,
    IncompleteAnswer,
    ProviderError,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)
from providers.http.provider import HttpProvider
from providers.http.session import Session
from providers.ollama import OllamaProvider
from providers.openai import OpenAIProvider
from providers.openrouter import OpenRouterProvider
from providers.validation import ValidationError
from tests.fakes.llm_server import COMPLETION_TOKENS, PROMPT_TOKENS, Behaviour, LLMServer

KEY = "sk-proj-0123456789abcdef"
HELLO = [Message("system", "Be kind."), Message("user", "Hello there")]


@dataclass(frozen=True)
class Dialect:
    cls: type[HttpProvider]
    path: str
    label: str

    def at(self, url: str, **config: Any) -> HttpProvider:
        return self.cls({"base_url": url + self.path, "api_key": KEY, **config})


DIALECTS = [
    Dialect(OllamaProvider, "", "Ollama"),
    Dialect(OpenAIProvider, "/v1", "OpenAI"),
    Dialect(OpenRouterProvider, "/api/v1", "OpenRouter"),
]


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.cls.kind)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    found: Dialect = request.param
    return found


@pytest.fixture
async def server() -> AsyncIterator[LLMServer]:
    async with LLMServer() as server:
        yield server


@pytest.fixture
async def provider(dialect: Dialect, server: LLMServer) -> AsyncIterator[HttpProvider]:
    async with dialect.at(server.url) as provider:
        yield provider


Asking = Callable[[HttpProvider], Any]


async def by_chat(provider: HttpProvider) -> Completion:
    return await provider.chat(HELLO, Options())


async def by_stream(provider: HttpProvider) -> Completion:
    return (await streamed(provider))[1]


both_ways = pytest.mark.parametrize("ask", [by_chat, by_stream])


async def gather(provider: HttpProvider, into: list[str | Completion]) -> None:
    """Fill `into` with the items, even if the stream ends with an error."""
    async for piece in provider.stream(HELLO, Options()):
        into.append(piece)  # noqa: PERF401


async def streamed(
    provider: HttpProvider, options: Options | None = None
) -> tuple[list[str], Completion]:
    """Return the pieces and the completion, which must be the last item."""
    async with aclosing(provider.stream(HELLO, options or Options())) as items:  # type: ignore[type-var]
        got = [item async for item in items]
    completion = got[-1]
    pieces = [piece for piece in got[:-1] if isinstance(piece, str) and piece]
    assert isinstance(completion, Completion)
    assert len(pieces) == len(got) - 1
    assert "".join(pieces) == completion.content
    return pieces, completion


# --- Answers


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


# --- Cut, stopped and lost


@pytest.mark.parametrize("cleanly", [True, False])
async def test_a_stream_cut_half_way_is_incomplete_and_keeps_what_came(
    provider: HttpProvider, server: LLMServer, cleanly: bool
) -> None:
    server.plan(Behaviour(text="one two three", cut_after=2, cut_cleanly=cleanly))
    pieces: list[str | Completion] = []
    with pytest.raises(IncompleteAnswer) as caught:
        await gather(provider, pieces)
    assert "".join(map(str, pieces)) == "one two"
    assert caught.value.partial == "one two"


@pytest.mark.parametrize("cleanly", [True, False])
async def test_a_stream_cut_before_its_first_text_may_fall_over_or_be_repeated_by_the_chain(
    provider: HttpProvider, server: LLMServer, cleanly: bool
) -> None:
    server.plan(Behaviour(text="one two three", cut_after=0, cut_cleanly=cleanly))
    with pytest.raises(ProviderError) as caught:
        await by_stream(provider)
    assert caught.value.falls_over
    assert caught.value.retryable
    assert caught.value.may_be_charged
    assert len(server.prompts) == 1


@pytest.mark.parametrize("cleanly", [True, False])
async def test_a_whole_answer_cut_half_way_is_lost(
    provider: HttpProvider, server: LLMServer, cleanly: bool
) -> None:
    server.plan(Behaviour(text="one two three", cut_after=0, cut_cleanly=cleanly))
    with pytest.raises(ConnectionLost):
        await by_chat(provider)
    assert len(server.prompts) == 1


async def test_closing_a_stream_leaves_the_server_at_once(
    provider: HttpProvider, server: LLMServer
) -> None:
    server.plan(Behaviour(text="one two three", hang_after=1))
    async with aclosing(provider.stream(HELLO, Options())) as items:  # type: ignore[type-var]
        assert await anext(items) == "one"
    await server.wait_for_disconnects(1)


@both_ways
async def test_cancelling_a_call_leaves_the_server_at_once(
    provider: HttpProvider, server: LLMServer, ask: Asking
) -> None:
    server.plan(Behaviour(hold=asyncio.Event()))
    task = asyncio.create_task(ask(provider))
    await server.wait_for_requests(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.wait_for_disconnects(1)
    assert (await ask(provider)).content == "You said: Hello there"


@both_ways
async def test_a_refused_connection_certainly_sent_nothing(dialect: Dialect, ask: Asking) -> None:
    async with LLMServer() as server:
        pass
    async with dialect.at(server.url) as provider:
        with pytest.raises(
            ProviderUnavailable, match=r"cannot be reached at 127\.0\.0\.1"
        ) as caught:
            await ask(provider)
    assert caught.value.refused
    assert caught.value.retryable
    assert str(caught.value).endswith("connection refused")


async def test_a_host_that_does_not_exist_is_unavailable() -> None:
    async with OpenAIProvider({"base_url": "http://no.such.host.invalid"}) as provider:
        with pytest.raises(ProviderUnavailable, match=r"reached at no\.such\.host") as caught:
            await by_chat(provider)
    assert caught.value.refused


@both_ways
async def test_a_server_that_goes_away_is_not_asked_twice_by_the_provider(
    provider: HttpProvider, server: LLMServer, ask: Asking
) -> None:
    server.plan(Behaviour(hold=asyncio.Event()))
    task = asyncio.create_task(ask(provider))
    await server.wait_for_requests(1)
    await server.stop()
    with pytest.raises(ConnectionLost) as caught:
        await task
    assert caught.value.code == "provider_unavailable"
    assert caught.value.may_be_charged
    assert not caught.value.refused
    assert len(server.prompts) == 1


@both_ways
async def test_a_server_that_does_not_speak_http_is_a_bad_answer(
    dialect: Dialect, ask: Asking
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 smtp.example.org ESMTP\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with dialect.at(url) as provider:
            with pytest.raises(BadAnswer, match="cannot be read"):
                await ask(provider)


@both_ways
@pytest.mark.parametrize("body", ["<html>Log in first</html>", '{"a":', "[1]", "null", "{}"])
async def test_a_200_that_holds_no_answer_is_a_bad_answer(
    provider: HttpProvider, server: LLMServer, ask: Asking, body: str
) -> None:
    server.plan(Behaviour(body=body))
    with pytest.raises(BadAnswer):
        await ask(provider)


async def test_an_endless_answer_is_cut_at_its_limit(
    provider: HttpProvider, server: LLMServer
) -> None:
    blocks = [b'{"message": "', *[b"x" * 2**20] * 17]
    server.plan(Behaviour(body=blocks), Behaviour(body=blocks, content_type="text/event-stream"))
    with pytest.raises(BadAnswer, match="more than 16777216 bytes"):
        await by_chat(provider)
    with pytest.raises(BadAnswer, match=r"more than (8388608|16777216) bytes"):
        await by_stream(provider)


@both_ways
async def test_a_server_that_compresses_anyway_is_understood(
    dialect: Dialect, server: LLMServer, ask: Asking
) -> None:
    said = {
        "message": {"content": "Hi"},
        "done": True,
        "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}],
    }
    body = gzip.compress(orjson.dumps(said))
    server.plan(Behaviour(body=body, headers={"Content-Encoding": "gzip"}))
    async with dialect.at(server.url) as provider:
        assert (await ask(provider)).content == "Hi"
    assert server.requests[-1].headers["accept-encoding"] == "identity"


async def test_a_small_body_that_unpacks_to_a_huge_one_is_cut_at_the_limit(
    provider: HttpProvider, server: LLMServer
) -> None:
    body = gzip.compress(b" " * (64 * 2**20), compresslevel=1)
    server.plan(Behaviour(body=body, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(BadAnswer, match="more than 16777216 bytes"):
        await by_chat(provider)


async def test_a_body_of_chunks_without_end_is_cut_at_the_limit(dialect: Dialect) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"100000\r\n" + b" " * 2**20 + b"\r\n")
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with dialect.at(url) as provider:
            with pytest.raises(BadAnswer, match="more than 16777216 bytes"):
                await provider.session.post_json(url, {})


async def test_after_closing_nothing_is_sent(dialect: Dialect, server: LLMServer) -> None:
    provider = dialect.at(server.url)
    await provider.aclose()
    await provider.aclose()
    with pytest.raises(ProviderUnavailable, match="was closed"):
        await by_chat(provider)
    assert server.connections == 0


# --- Refusals


@both_ways
async def test_a_refusal_is_read_from_its_status_and_its_body(
    provider: HttpProvider, server: LLMServer, ask: Asking
) -> None:
    server.plan(Behaviour(status=429, body={"error": {"code": "insufficient_quota"}}))
    with pytest.raises(QuotaExhausted) as caught:
        await ask(provider)
    assert caught.value.status == 429
    assert str(caught.value) == f"{provider.label} API error: 429 Too Many Requests"
    assert len(server.prompts) == 1


@both_ways
async def test_the_key_never_shows(provider: HttpProvider, server: LLMServer, ask: Asking) -> None:
    server.plan(Behaviour(status=500, body={"error": f"got Bearer {KEY} and {KEY}"}))
    with pytest.raises(ProviderUnavailable) as caught:
        await ask(provider)
    assert KEY not in repr(caught.value)
    assert KEY not in repr(provider.config)


@both_ways
async def test_a_redirect_is_not_followed_so_the_key_stays_with_its_server(
    provider: HttpProvider, server: LLMServer, ask: Asking
) -> None:
    server.plan(Behaviour(status=307, headers={"Location": "/elsewhere"}))
    with pytest.raises(ProviderError):
        await ask(provider)
    assert "/elsewhere" not in [request.path for request in server.requests]


async def test_the_wait_comes_with_the_reply(provider: HttpProvider, server: LLMServer) -> None:
    server.plan(Behaviour(status=429, headers={"Retry-After": "9"}))
    with pytest.raises(RateLimited) as caught:
        await by_chat(provider)
    assert caught.value.retry_after_s == 9.0


# --- Settings, status, models


@pytest.mark.parametrize(
    "url",
    ["", "localhost:11434", "ftp://x", "http://", "http://h:0", "http://h:99999", "http://[x"],
)
def test_a_wrong_address_is_an_error_in_the_settings(dialect: Dialect, url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        dialect.cls({"base_url": url}, name="mine")
    assert caught.value.path == "providers.mine.base_url"


def test_a_password_in_an_address_is_refused_and_not_shown(dialect: Dialect) -> None:
    with pytest.raises(ValidationError) as caught:
        dialect.cls({"base_url": "http://me:hush@host/v1"})
    assert "hush" not in str(caught.value)


def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(dialect: Dialect) -> None:
    with pytest.raises(ValidationError) as caught:
        dialect.cls({"api_key": "se\ncret"})
    assert caught.value.path == f"providers.{dialect.cls.kind}.api_key"
    assert "cret" not in str(caught.value)


async def test_a_key_with_a_line_end_behind_it_works(dialect: Dialect, server: LLMServer) -> None:
    server.api_key = KEY
    async with dialect.at(server.url + "", api_key=KEY + "\n") as provider:
        await by_chat(provider)
        assert await provider.is_available()


async def test_a_trailing_slash_in_an_address_is_tolerated(
    dialect: Dialect, server: LLMServer
) -> None:
    async with dialect.cls({"base_url": server.url + dialect.path + "/"}) as provider:
        await by_chat(provider)
    assert not any("//" in request.path for request in server.requests)


async def test_a_provider_that_can_answer_is_available(provider: HttpProvider) -> None:
    assert await provider.is_available()
    assert (await provider.status()).detail == ""


async def test_a_provider_that_cannot_be_reached_says_so(dialect: Dialect) -> None:
    async with LLMServer() as server:
        pass
    async with dialect.at(server.url) as provider:
        status = await provider.status()
    assert not status.available
    assert "cannot be reached" in status.detail


async def test_the_status_reports_a_wrong_key(dialect: Dialect, server: LLMServer) -> None:
    server.api_key = "another"
    if dialect.cls is OllamaProvider:
        server.routes["/api/version"] = Behaviour(status=401)
    async with dialect.at(server.url) as provider:
        status = await provider.status()
        with pytest.raises(AuthenticationFailed):
            await by_chat(provider)
    assert not status.available
    assert "401 Unauthorized" in status.detail


async def test_a_server_that_never_answers_still_has_a_status(
    dialect: Dialect, server: LLMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.http.provider.STATUS_S", 0.01)
    hold = asyncio.Event()
    for path in ("/api/version", "/v1/models", "/api/v1/key"):
        server.routes[path] = Behaviour(hold=hold)
    async with dialect.at(server.url) as provider:
        status = await provider.status()
    assert not status.available
    assert "did not answer within" in status.detail


async def test_the_models_are_those_of_the_server(
    provider: HttpProvider, server: LLMServer
) -> None:
    server.models = ["b", "a"]
    assert await provider.models() == ["b", "a"]


async def test_a_session_that_was_never_used_opens_nothing() -> None:
    session = Session(label="Nobody")
    await session.aclose()
    await session.aclose()
