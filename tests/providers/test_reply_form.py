"""Tests of replies that are not what their content type says, of redirects, and of 409."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from providers.base import Completion, Message, Options
from providers.errors import BadAnswer, ProviderError, ProviderUnavailable, WrongAddress
from providers.http.provider import HttpProvider
from providers.ollama import OllamaProvider
from providers.openai import OpenAIProvider
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.chain_harness import MadeUpTime, Way, chained, every_way
from tests.support.service_harness import House

HELLO = [Message("user", "Hello")]
ANSWERS: dict[type[HttpProvider], dict[str, Any]] = {
    OpenAIProvider: {
        "model": "m",
        "choices": [{"message": {"content": "Hi there"}, "finish_reason": "stop"}],
    },
    OllamaProvider: {"model": "m", "message": {"content": "Hi there"}, "done": True},
}
CONTENT_TYPES = [
    "application/json",
    "application/json; charset=utf-8",
    "application/problem+json",
    "application/x-ndjson",
    "application/octet-stream",
    "text/event-stream",
    "text/event-stream; charset=utf-8",
    "text/plain",
    "text/json",
    "text/html",
    "",
]
PRETTY = orjson.OPT_INDENT_2


@pytest.fixture(params=ANSWERS, ids=lambda cls: cls.kind)
def kind(request: pytest.FixtureRequest) -> type[HttpProvider]:
    found: type[HttpProvider] = request.param
    return found


@pytest.fixture
async def provider(kind: type[HttpProvider], server: LLMServer) -> AsyncIterator[HttpProvider]:
    path = "" if kind is OllamaProvider else "/v1"
    async with kind({"base_url": server.url + path, "api_key": "sk-some-key"}) as provider:
        yield provider


async def by_chat(provider: HttpProvider) -> str:
    return (await provider.chat(HELLO, Options())).content


async def by_stream(provider: HttpProvider) -> str:
    items = [item async for item in provider.stream(HELLO, Options())]
    assert isinstance(items[-1], Completion)
    return items[-1].content


both_ways = pytest.mark.parametrize("ask", [by_chat, by_stream])


# --- One JSON value under any content type


@both_ways
@pytest.mark.parametrize("content_type", CONTENT_TYPES)
@pytest.mark.parametrize(
    "form",
    [
        lambda answer: [orjson.dumps(answer)],
        lambda answer: [orjson.dumps(answer) + b"\n"],
        lambda answer: [orjson.dumps(answer, option=PRETTY)],
        lambda answer: [b"\xef\xbb\xbf" + orjson.dumps(answer, option=PRETTY)],
        lambda answer: [b"\n ", b" \r\n", orjson.dumps(answer, option=PRETTY)],
        lambda answer: [bytes([byte]) for byte in b"\xef\xbb\xbf\n" + orjson.dumps(answer)],
    ],
    ids=["line", "line end", "lines", "BOM", "white space", "byte by byte"],
)
async def test_an_answer_in_json_is_read_whatever_its_content_type(
    ask: Any, form: Any, content_type: str, provider: HttpProvider, server: LLMServer
) -> None:
    server.plan(Behaviour(body=form(ANSWERS[type(provider)]), content_type=content_type))
    assert await ask(provider) == "Hi there"


@both_ways
@pytest.mark.parametrize("content_type", ["text/event-stream", "text/plain", ""])
@pytest.mark.parametrize("option", [None, PRETTY])
async def test_an_error_in_json_is_read_whatever_its_content_type(
    ask: Any, option: int | None, content_type: str, provider: HttpProvider, server: LLMServer
) -> None:
    body = orjson.dumps({"error": {"message": "no such luck"}}, option=option)
    server.plan(Behaviour(body=body, content_type=content_type))
    with pytest.raises(ProviderError, match="no such luck"):
        await ask(provider)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
async def test_a_token_stream_is_read_whatever_its_content_type(
    content_type: str, provider: HttpProvider, server: LLMServer
) -> None:
    if isinstance(provider, OllamaProvider):
        lines = [
            {"message": {"content": text}, "done": text == "!"} for text in ("Hi", " you", "!")
        ]
        body = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    else:
        events = [{"choices": [{"delta": {"content": text}}]} for text in ("Hi", " you", "!")]
        body = b": working\n\n" + b"".join(b"data: %b\n\n" % orjson.dumps(each) for each in events)
        body += b"data: [DONE]\n\n"
    server.plan(Behaviour(body=body, content_type=content_type))
    assert await by_stream(provider) == "Hi you!"


async def test_a_line_without_end_is_cut_at_its_limit(
    provider: HttpProvider, server: LLMServer
) -> None:
    blocks = [b'{"message": "', *[b"x" * 2**20] * 17]
    server.plan(Behaviour(body=blocks, content_type=""))
    with pytest.raises(BadAnswer, match="more than"):
        await by_stream(provider)


@both_ways
@pytest.mark.parametrize("body", ["<html>Log in first</html>", "Hello, this is plain text"])
async def test_what_is_no_answer_stays_a_bad_answer(
    ask: Any, body: str, provider: HttpProvider, server: LLMServer
) -> None:
    server.plan(Behaviour(body=body, content_type="text/plain"))
    with pytest.raises(BadAnswer):
        await ask(provider)


# --- Redirects


@both_ways
@pytest.mark.parametrize(
    ("status", "location", "text"),
    [
        (
            308,
            "https://there.example/v2{path}",
            "redirects to https://there.example/v2{path} (308 Permanent Redirect); "
            "set base_url to https://there.example/v2",
        ),
        (
            301,
            "https://jo:sesame@there.example/v2{path}?key=sesame#x",
            "redirects to https://there.example/v2{path} (301 Moved Permanently); "
            "set base_url to https://there.example/v2",
        ),
        (
            302,
            "/login?next=x",
            "redirects to {url}/login (302 Found); set base_url to the address of the API there",
        ),
        (307, "//other{path}", "redirects to http://other{path} (307 Temporary Redirect)"),
        (303, None, "redirects without an address (303 See Other); check base_url"),
        (302, "mailto:x@y", "redirects without an address (302 Found); check base_url"),
        (302, "http://[x", "redirects without an address (302 Found); check base_url"),
        (399, "/x", "redirects to {url}/x (399); set base_url"),
    ],
)
async def test_a_redirect_names_its_target_and_needs_a_person(
    ask: Any,
    status: int,
    location: str | None,
    text: str,
    provider: HttpProvider,
    server: LLMServer,
) -> None:
    path = "/api/chat" if isinstance(provider, OllamaProvider) else "/chat/completions"
    headers = {"Location": location.format(path=path)} if location else {}
    server.plan(Behaviour(status=status, headers=headers))
    with pytest.raises(WrongAddress) as caught:
        await ask(provider)
    error = caught.value
    assert str(error).startswith(f"{provider.label} {text.format(path=path, url=server.url)}")
    assert "sesame" not in str(error)
    assert (error.code, error.status) == ("provider_error", status)
    assert (error.retryable, error.falls_over) == (False, False)
    assert len(server.prompts) == 1


async def test_the_status_names_a_redirect(provider: HttpProvider, server: LLMServer) -> None:
    for path in ("/api/version", "/v1/models"):
        server.routes[path] = Behaviour(status=301, headers={"Location": f"https://there{path}"})
    # A list of models may be elsewhere, so the chat is asked, too.
    server.plan(Behaviour(status=301, headers={"Location": "https://there/v1/chat/completions"}))
    status = await provider.status()
    assert not status.available
    assert "redirects to https://there/" in status.detail


# --- 409


@every_way
@pytest.mark.parametrize("status", [409, 425])
async def test_a_conflict_is_tried_again(
    way: Way, status: int, provider: HttpProvider, server: LLMServer
) -> None:
    server.plan(Behaviour(status=status, body={"error": {"message": "in conflict"}}))
    _, answered = await way(chained(MadeUpTime(), provider))
    assert answered.attempts == 2


async def test_a_conflict_that_stays_is_named(provider: HttpProvider, server: LLMServer) -> None:
    server.plan(Behaviour(status=409, body={"error": {"message": "in conflict"}}))
    with pytest.raises(ProviderUnavailable, match="409 Conflict: in conflict"):
        await by_chat(provider)


# --- Through the service


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind_name", ["ollama", "openai"])
@pytest.mark.process
async def test_a_channel_hears_the_text_the_redirect_and_the_answer_after_a_conflict(
    tmp_path: Path, kind_name: str, stream: bool, server: LLMServer
) -> None:
    cls = OllamaProvider if kind_name == "ollama" else OpenAIProvider
    body = orjson.dumps(ANSWERS[cls], option=PRETTY)
    async with House(tmp_path, server) as house:
        path = "" if kind_name == "ollama" else "/v1"
        house.config |= {
            "default_provider": kind_name,
            "conversation": {"stream": stream},
            "providers": {kind_name: {"base_url": server.url + path, "max_retries": 1}},
        }
        await house.open()
        server.plan(
            Behaviour(body=body, content_type="text/event-stream"),
            Behaviour(status=308, headers={"Location": "https://there.example/x"}),
            Behaviour(status=409),
        )
        answers = [await house.bot.ask(text) for text in ("one", "two", "three")]
    assert answers[0]["content"] == "Hi there"
    assert answers[1]["code"] == "provider_error"
    assert "redirects to https://there.example/x" in answers[1]["error"]
    assert answers[2]["content"] == "You said: three"
