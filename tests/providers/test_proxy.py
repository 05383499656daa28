"""Providers behind a proxy, which alone knows where they are."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from providers.base import Options
from providers.errors import AuthenticationFailed, ProviderError, ProviderUnavailable, WrongAddress
from providers.http.provider import HttpProvider
from providers.local.provider import LocalProvider
from providers.openai import OpenAIProvider
from tests.fakes.http_proxy import HttpProxy
from tests.fakes.llm_server import LLMServer
from tests.support.service_harness import House
from tests.support.tls_servers import Authority
from tests.support.ways_to_a_provider import HELLO, HOST, both_ways, by_chat, path_of


@both_ways
async def test_a_proxy_passes_requests_on(
    ask: Any, kind: type[HttpProvider], server: LLMServer
) -> None:
    async with HttpProxy({HOST: server.port}, login="jo:sesame") as proxy:
        url = f"http://{HOST}{path_of(kind)}"
        address = proxy.url.replace("//", "//jo:sesame@")
        async with kind({"base_url": url, "proxy": address, "api_key": "x"}) as provider:
            assert await ask(provider) == "You said: Hello"
            assert await ask(provider) == "You said: Hello"
            assert await provider.is_available()
    assert all(target.startswith(f"http://{HOST}/") for _, target, _ in proxy.seen)
    assert not any("proxy-authorization" in request.headers for request in server.requests)


@both_ways
async def test_a_proxy_of_the_environment_tunnels_tls(
    ask: Any,
    kind: type[HttpProvider],
    tls: ssl.SSLContext,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        LLMServer(tls=tls) as server,
        HttpProxy({HOST: server.port}, login="jo:sesame") as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//jo:sesame@"))
        url = f"https://{HOST}{path_of(kind)}"
        settings = {"base_url": url, "api_key": "x", "ca_file": str(authority.file)}
        async with kind(settings) as provider:
            assert await ask(provider) == "You said: Hello"
    assert {(method, target) for method, target, _ in proxy.seen} == {("CONNECT", f"{HOST}:443")}
    # Only what the tunnel needs: the key goes through it, unseen.
    sent = {name for _, _, headers in proxy.seen for name in headers}
    assert sent <= {"host", "proxy-authorization", "user-agent", "accept", "accept-encoding"}
    assert not any("proxy-authorization" in request.headers for request in server.requests)


async def test_the_setting_goes_before_the_environment(
    server: LLMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with OpenAIProvider({"base_url": f"{server.url}/v1", "proxy": "none"}) as provider:
        assert await by_chat(provider) == "You said: Hello"
    async with HttpProxy({HOST: server.port}) as proxy:
        table = {"base_url": f"http://{HOST}/v1", "proxy": proxy.url}
        async with OpenAIProvider(table) as provider:
            assert await by_chat(provider) == "You said: Hello"


async def test_a_set_proxy_is_used_for_this_machine_too(server: LLMServer) -> None:
    async with HttpProxy({"127.0.0.1": server.port}) as proxy:
        table = {"base_url": f"{server.url}/v1", "proxy": proxy.url}
        async with OpenAIProvider(table) as provider:
            assert await by_chat(provider) == "You said: Hello"
    assert len(proxy.seen) == 1


@both_ways
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_wants_a_login_needs_a_person(
    ask: Any, kind: type[HttpProvider], scheme: str
) -> None:
    async with HttpProxy({HOST: 9}, login="jo:sesame") as proxy:
        address = proxy.url.replace("//", "//jo:wrong-one@")
        table = {"base_url": f"{scheme}://{HOST}", "proxy": address, "api_key": "x"}
        async with kind(table) as provider:
            with pytest.raises(AuthenticationFailed) as caught:
                await ask(provider)
    text = str(caught.value)
    assert f"cannot be reached through the proxy at 127.0.0.1:{proxy.port}: 407" in text
    assert "set a login in the proxy's address" in text
    assert "wrong-one" not in text


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, WrongAddress), (502, ProviderUnavailable), (599, ProviderUnavailable)],
)
async def test_a_tunnel_that_is_refused_says_so(status: int, error: type[ProviderError]) -> None:
    async with HttpProxy({HOST: 9}, status=status) as proxy:
        table = {"base_url": f"https://{HOST}", "proxy": proxy.url}
        async with OpenAIProvider(table) as provider:
            with pytest.raises(error, match=f"through the proxy at .*: {status}"):
                await by_chat(provider)


@both_ways
async def test_a_proxy_that_is_not_there_is_named(ask: Any, kind: type[HttpProvider]) -> None:
    async with HttpProxy({}) as proxy:
        pass
    table = {"base_url": "http://far.example", "proxy": proxy.url, "api_key": "x"}
    async with kind(table) as provider:
        with pytest.raises(ProviderUnavailable) as caught:
            await ask(provider)
    assert caught.value.refused
    assert str(caught.value) == (
        f"{provider.label} cannot be reached through the proxy at 127.0.0.1:{proxy.port}: "
        "connection refused"
    )


@pytest.mark.process
async def test_the_embedded_models_own_server_is_never_reached_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with LocalProvider({"max_tokens": 4}) as provider:
        assert (await provider.chat(HELLO, Options())).content


def test_the_client_of_the_embedded_model_has_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    api = LocalProvider({})._api(9, "key")
    assert api.config.proxy == "none"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", ["ollama", "openai"])
async def test_a_channel_is_answered_through_a_proxy_with_tls_headers_and_parameters(
    tmp_path: Path,
    kind: str,
    stream: bool,
    tls: ssl.SSLContext,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATEWAY_KEY", "gate-key-9")
    (tmp_path / "ca.pem").write_bytes(authority.file.read_bytes())
    async with LLMServer(tls=tls) as server, HttpProxy({HOST: server.port}) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        for path in ("/api/chat", "/v1/chat/completions"):
            server.aliases[f"{path}?api-version=2024-10-21"] = path
        async with House(tmp_path, server) as house:
            house.config |= {
                "default_provider": kind,
                "conversation": {"stream": stream},
                "providers": {
                    kind: {
                        "base_url": f"https://{HOST}{'' if kind == 'ollama' else '/v1'}",
                        "ca_file": "ca.pem",
                        "headers": {"api-key": "${GATEWAY_KEY}"},
                        "query": {"api-version": "2024-10-21"},
                    }
                },
            }
            await house.open()
            answer = await house.bot.ask("hello")
        assert answer["content"] == "You said: hello"
        assert server.requests[-1].headers["api-key"] == "gate-key-9"
    assert {method for method, _, _ in proxy.seen} == {"CONNECT"}
