"""Answers that are cut, stopped, lost or endless, of all providers over HTTP."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import aclosing, suppress

import orjson
import pytest

from providers.base import Completion, Options
from providers.errors import (
    BadAnswer,
    ConnectionLost,
    IncompleteAnswer,
    ProviderError,
    ProviderUnavailable,
)
from providers.http.provider import HttpProvider
from providers.openai import OpenAIProvider
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.dialects import (
    HELLO,
    Asking,
    Dialect,
    both_ways,
    by_chat,
    by_stream,
    gather,
)


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
