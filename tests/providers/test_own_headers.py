"""Headers and parameters of a provider's own, which go with every request and into no error."""

from __future__ import annotations

from typing import Any

import pytest

from providers.errors import ProviderError
from providers.http.provider import HttpProvider
from providers.openai import OpenAIProvider
from providers.validation import ValidationError
from tests.fakes.http_proxy import HttpProxy
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.ways_to_a_provider import HOST, both_ways, by_chat, path_of


@both_ways
async def test_headers_and_parameters_go_with_every_request(
    ask: Any, kind: type[HttpProvider], server: LLMServer
) -> None:
    table = {
        "base_url": server.url + path_of(kind),
        "headers": {"api-key": "azure-key-1", "X-Team": "chat", "X-None": ""},
        "query": {"api-version": "2024-10-21", "code": "a/b &c", "none": ""},
    }
    query = "?api-version=2024-10-21&code=a/b+%26c"
    for path in ("/api/chat", "/v1/chat/completions", "/api/version", "/api/tags", "/v1/models"):
        server.aliases[path + query] = path
    async with kind(table) as provider:
        assert await ask(provider) == "You said: Hello"
        await provider.is_available()
    assert server.requests
    for request in server.requests:
        assert request.path.endswith(query)
        assert request.headers["api-key"] == "azure-key-1"
        assert request.headers["x-team"] == "chat"
        assert "x-none" not in request.headers
        assert "authorization" not in request.headers
        assert request.headers["user-agent"].startswith("rosey-llm/0.")


async def test_a_header_of_the_settings_replaces_ours_in_any_case(server: LLMServer) -> None:
    table = {
        "base_url": f"{server.url}/v1",
        "api_key": "own-key",
        "headers": {"AUTHORIZATION": "Token other-key", "user-agent": "us"},
    }
    async with OpenAIProvider(table) as provider:
        await by_chat(provider)
    headers = server.requests[0].headers
    assert (headers["authorization"], headers["user-agent"]) == ("Token other-key", "us")


def test_a_key_in_a_header_is_a_key() -> None:
    assert OpenAIProvider({"headers": {"Authorization": "Bearer x"}}).has_key
    assert OpenAIProvider({"headers": {"api-key": "x"}}).has_key
    assert not OpenAIProvider({"headers": {"api-key": "", "X-Team": "chat"}}).has_key


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ({"headers": {"X-Key": "one\ntwo-secret"}}, "headers.X-Key"),
        ({"headers": {"X-Key": "grün-secret"}}, "headers.X-Key"),
        ({"headers": {"X Key": "secret"}}, "headers"),
        ({"headers": {"X-Key": 4711}}, "headers.X-Key"),
        ({"headers": {"content-length": "secret"}}, "headers.content-length"),
        ({"headers": {"X-Key": "secret", "x-key": "secret"}}, "headers.x-key"),
        ({"headers": "secret"}, "headers"),
        ({"query": {"code": "one\ntwo-secret"}}, "query.code"),
        ({"query": {"code": 4711}}, "query.code"),
        ({"proxy": 4711}, "proxy"),
        ({"api_key": 4711}, "api_key"),
    ],
)
def test_what_cannot_be_sent_is_an_error_of_the_settings_that_does_not_show_it(
    table: dict[str, Any], path: str, kind: type[HttpProvider]
) -> None:
    with pytest.raises(ValidationError) as caught:
        kind(table, name="mine")
    assert caught.value.path == f"providers.mine.{path}"
    assert "4711" not in str(caught.value)
    if table != {"headers": "secret"}:
        assert "secret" not in str(caught.value)


SECRETS = ("azure-key-1", "bearer-key-2", "query key/3", "query%20key/3", "proxy-word-4")


@both_ways
async def test_no_error_shows_a_header_a_parameter_or_a_login(
    ask: Any, kind: type[HttpProvider], server: LLMServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    query = "?code=query+key/3"
    for path in ("/api/chat", "/v1/chat/completions"):
        server.aliases[path + query] = path
    text = f"got {' and '.join(SECRETS)} and query+key/3 and query%20key%2F3"
    moved = {"Location": "https://jo:proxy-word-4@there/azure-key-1/v1?code=query+key/3"}
    server.plan(
        Behaviour(status=500, body={"error": text}),
        Behaviour(status=400, body=text),
        Behaviour(status=307, headers=moved),
        Behaviour(body={"error": {"message": text}}),
        Behaviour(body=b'{"a'),
        Behaviour(drop=True),
    )
    async with HttpProxy({HOST: server.port}, login="jo:proxy-word-4") as proxy:
        table = {
            "base_url": f"http://{HOST}{path_of(kind)}",
            "headers": {"api-key": "azure-key-1", "Authorization": "Bearer bearer-key-2"},
            "query": {"code": "query key/3"},
            "proxy": proxy.url.replace("//", "//jo:proxy-word-4@"),
        }
        async with kind(table) as provider:
            shown = repr(provider.config)
            for _ in range(6):
                with pytest.raises(ProviderError) as caught:
                    await ask(provider)
                shown += str(caught.value) + repr(caught.value.__cause__)
    shown += caplog.text
    for secret in (*SECRETS, "query+key/3", "query%20key%2F3"):
        assert secret not in shown, secret
