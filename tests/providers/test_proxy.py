"""Tests of the way to a provider: proxies, authorities, headers and parameters of its own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from providers.base import Completion, Message, Options
from providers.errors import (
    AuthenticationFailed,
    ProviderError,
    ProviderUnavailable,
    WrongAddress,
)
from providers.http.provider import HttpProvider
from providers.http.proxy import UnusableProxy, proxy_from, proxy_of
from providers.local.provider import LocalProvider
from providers.ollama import OllamaProvider
from providers.openai import OpenAIProvider
from providers.validation import ValidationError
from tests.fakes.http_proxy import HttpProxy
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.service_harness import House
from tests.support.tls_servers import Authority

HELLO = [Message("user", "Hello")]
HOST = "llm.example"
VARIABLES = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"]


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def server() -> AsyncIterator[LLMServer]:
    async with LLMServer() as server:
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "ca")


@pytest.fixture(scope="module")
def tls(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.certificate("server", "IP:127.0.0.1", f"DNS:{HOST}"))
    return context


@pytest.fixture(params=[OllamaProvider, OpenAIProvider], ids=lambda cls: cls.kind)
def kind(request: pytest.FixtureRequest) -> type[HttpProvider]:
    found: type[HttpProvider] = request.param
    return found


async def by_chat(provider: HttpProvider) -> str:
    return (await provider.chat(HELLO, Options())).content


async def by_stream(provider: HttpProvider) -> str:
    items = [item async for item in provider.stream(HELLO, Options())]
    assert isinstance(items[-1], Completion)
    return items[-1].content


both_ways = pytest.mark.parametrize("ask", [by_chat, by_stream])


def path_of(kind: type[HttpProvider]) -> str:
    return "" if kind is OllamaProvider else "/v1"


# --- Which proxy


@pytest.mark.parametrize(
    ("url", "environment", "address"),
    [
        ("http://far/v1", {}, None),
        ("http://far/v1", {"HTTP_PROXY": "http://p:3128"}, "http://p:3128"),
        ("http://far/v1", {"http_proxy": "http://p:3128"}, "http://p:3128"),
        ("http://far/v1", {"http_proxy": "http://a:1", "HTTP_PROXY": "http://b:2"}, "http://a:1"),
        ("http://far/v1", {"HTTP_PROXY": "p:3128"}, "http://p:3128"),
        ("http://far/v1", {"HTTP_PROXY": " "}, None),
        ("http://far/v1", {"HTTPS_PROXY": "http://p:3128"}, None),
        ("https://far/v1", {"HTTPS_PROXY": "http://p:3128/"}, "http://p:3128"),
        ("https://far/v1", {"HTTP_PROXY": "http://p:3128"}, None),
        ("https://far/v1", {"ALL_PROXY": "http://p:3128"}, "http://p:3128"),
        ("https://far/v1", {"all_proxy": "http://p", "HTTPS_PROXY": "http://q"}, "http://q"),
    ],
)
def test_the_environment_names_the_proxy_as_for_other_programs(
    url: str, environment: dict[str, str], address: str | None
) -> None:
    found = proxy_from(environment, url)
    assert (found and found.address) == address


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        ("http://api.far.org", "", False),
        ("http://api.far.org", "*", True),
        ("http://api.far.org", "far.org", True),
        ("http://api.far.org", ".far.org", True),
        ("http://api.far.org", "*.far.org", True),
        ("http://far.org", ".far.org", True),
        ("http://api.far.org", "API.FAR.ORG", True),
        ("http://notfar.org", "far.org", False),
        ("http://api.far.org", "near.org, far.org", True),
        ("http://api.far.org", "near.org far.org", True),
        ("http://api.far.org:8080", "far.org:8080", True),
        ("http://api.far.org:8080", "far.org:80", False),
        ("http://api.far.org", "far.org:80", True),
        ("http://10.1.2.3", "10.0.0.0/8", True),
        ("http://11.1.2.3", "10.0.0.0/8", False),
        ("http://10.1.2.3", "10.1.2.3", True),
        ("http://[fd00::7]:80", "fd00::/8", True),
        ("http://[fd00::7]:80", "[fd00::7]", True),
        ("http://api.far.org", ",,:80,", False),
        # This machine itself, which a proxy elsewhere could not reach.
        ("http://localhost:11434", "", True),
        ("http://127.0.0.1:11434", "", True),
        ("http://127.9.9.9", "", True),
        ("http://[::1]:80", "", True),
        ("http://192.168.0.9", "", False),
    ],
)
def test_no_proxy_names_who_is_reached_directly(url: str, no_proxy: str, direct: bool) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        environment = {"HTTP_PROXY": "http://p:3128", name: no_proxy}
        assert (proxy_from(environment, url) is None) is direct


@pytest.mark.parametrize("setting", ["none", "None", " none "])
def test_no_proxy_can_be_set(setting: str) -> None:
    assert proxy_of(setting) is None


def test_a_login_in_a_proxys_address_is_not_a_part_of_what_is_shown() -> None:
    proxy = proxy_of("http://jo%40x:ses%2Fame@p:3128")
    assert proxy is not None
    assert (proxy.address, proxy.place) == ("http://p:3128", "p:3128")
    assert proxy.authorization == "Basic am9AeDpzZXMvYW1l"
    assert "ses" not in repr(proxy)
    assert {"ses/ame", "ses%2Fame", "am9AeDpzZXMvYW1l"} == set(proxy.secrets)


@pytest.mark.parametrize(
    "setting",
    [
        "p:3128",
        "socks5://p:1080",
        "https://p",
        "http://",
        "http://p:99999",
        "http://[x",
        "http://p/x",
    ],
)
def test_an_unusable_proxy_is_an_error_of_the_settings(
    setting: str, kind: type[HttpProvider]
) -> None:
    with pytest.raises(ValidationError) as caught:
        kind({"proxy": setting}, name="mine")
    assert caught.value.path == "providers.mine.proxy"
    assert caught.value.problem.startswith("expected an address such as")
    with pytest.raises(UnusableProxy):
        proxy_of(setting)


@both_ways
async def test_an_unusable_proxy_of_the_environment_is_named_by_the_call_alone(
    ask: Any, kind: type[HttpProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://jo:sesame@p:1080")
    async with kind({"base_url": "http://far.example", "api_key": "x"}, name="mine") as provider:
        with pytest.raises(WrongAddress, match=r"\$ALL_PROXY is not an address") as caught:
            await ask(provider)
        status = await provider.status()
    assert "set providers.mine.proxy" in str(caught.value)
    assert "sesame" not in str(caught.value)
    assert (status.available, status.detail) == (False, str(caught.value))


# --- Through a proxy


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


# --- Authorities


@both_ways
async def test_a_server_with_a_certificate_of_ones_own_authority_is_trusted_by_ca_file(
    ask: Any, kind: type[HttpProvider], tls: ssl.SSLContext, authority: Authority
) -> None:
    async with LLMServer(tls=tls) as server:
        table = {"base_url": server.url + path_of(kind), "api_key": "x"}
        async with kind({**table, "ca_file": str(authority.file)}) as provider:
            assert await ask(provider) == "You said: Hello"
        async with kind(table) as provider:
            with pytest.raises(
                ProviderUnavailable, match="certificate is not trusted; set ca_file"
            ):
                await ask(provider)


async def test_a_ca_file_trusts_no_other_authority(tls: ssl.SSLContext, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    async with LLMServer(tls=tls) as server:
        table = {"base_url": server.url, "ca_file": str(other.file)}
        async with OpenAIProvider(table) as provider:
            with pytest.raises(ProviderUnavailable, match="not trusted"):
                await by_chat(provider)


async def test_https_to_a_server_without_tls_is_named() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with OpenAIProvider({"base_url": f"https://127.0.0.1:{port}/v1"}) as provider:
            with pytest.raises(ProviderUnavailable, match="does base_url need http://"):
                await by_chat(provider)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_an_error_of_the_settings(
    content: str | None, tmp_path: Path, kind: type[HttpProvider]
) -> None:
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    with pytest.raises(ValidationError, match=r"^providers\.mine\.ca_file: expected a file of cer"):
        kind({"ca_file": str(file)}, name="mine")


# --- Headers and parameters


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


# --- Through the service


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
