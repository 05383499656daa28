"""TLS: what works, what is refused, and that no secret is ever sent without it."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from engine.app import build_app
from engine.config.settings import NatsSettings
from engine.errors import CannotStart
from engine.interfaces.terminal.service_client import service_client
from engine.traffic.connection import NatsConnection
from engine.traffic.login import client_options
from providers.validation import Secret
from tests.support.nats_servers import said, service, starting
from tests.support.patience import until
from tests.support.service_harness import House
from tests.support.tls_servers import INFO, Authority, Eavesdropper, tls_server


def engine(authority: Authority, **more: Any) -> dict[str, Any]:
    return {"user": "engine", "password": "open-sesame", "tls_ca": str(authority.file)} | more


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_over_tls_questions_are_answered(
    house: House, tmp_path: Path, authority: Authority, first: bool, scheme: str
) -> None:
    files = authority.certificate("server", "IP:127.0.0.1")
    server = tls_server(tmp_path, files, first=first)
    server.scheme = scheme
    settings = engine(authority, tls_first=first)
    async with server, service(house, server, **settings):
        nats = house.settings.nats
        async with service_client(nats, nats.url) as bot:
            assert (await bot.command("Hi", "#lobby")).content == "You said: Hi"


async def test_the_engine_shows_its_own_certificate_if_the_server_requires_one(
    house: House, tmp_path: Path, authority: Authority
) -> None:
    files = authority.certificate("server", "IP:127.0.0.1")
    certificate, key = authority.certificate("engine", "DNS:engine")
    server = tls_server(tmp_path, files, verified_by=authority.file)
    settings = engine(authority, tls_cert=str(certificate), tls_key=str(key))
    async with server, service(house, server, **settings) as app:
        assert app.inspect().connection.connected.is_set()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("wrong", ["stranger", "elsewhere"])
async def test_a_certificate_that_does_not_match_is_refused_and_logged_once(
    house: House,
    tmp_path: Path,
    authority: Authority,
    stranger: Authority,
    caplog: pytest.LogCaptureFixture,
    wrong: str,
    first: bool,
) -> None:
    if wrong == "stranger":
        files = stranger.certificate("server", "IP:127.0.0.1")
    else:
        files = authority.certificate("server", "DNS:elsewhere.example")
    server = tls_server(tmp_path, files, first=first)
    async with server, starting(house, server, **engine(authority, tls_first=first)) as start:
        await until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)
        await until(lambda: server.log.count("TLS handshake error") >= 1)
        assert not start.done()
    assert said(caplog) == ["lost"]


@pytest.mark.parametrize("made", [False, True])
async def test_a_service_does_not_start_with_an_unusable_ca_file(
    house: House, tmp_path: Path, made: bool
) -> None:
    file = tmp_path / "none.pem"
    if made:
        file.write_text("no certificate")
    house.config["nats"] = {"url": "tls://127.0.0.1:9", "tls_ca": str(file)}
    with pytest.raises(CannotStart) as refused:
        await build_app(house.settings).start()
    why = "NO_CERTIFICATE_OR_CRL_FOUND" if made else "No such file or directory"
    assert str(refused.value) == (
        f"TLS cannot be set up with {file}: {why}. Correct [nats] tls_ca, tls_cert and tls_key."
    )


@pytest.mark.parametrize("first", [True, False])
async def test_the_end_of_a_tls_connection_logs_no_warning(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture, first: bool
) -> None:
    server = tls_server(tmp_path, authority.certificate("server", "IP:127.0.0.1"), first=first)
    settings = NatsSettings(**engine(authority, tls_first=first, password=Secret("open-sesame")))
    connection = NatsConnection(settings, "")
    async with server:
        connection.url = server.url
        connection.start()
        await connection.connected.wait()
    await until(lambda: not connection.connected.is_set())
    await connection.close()
    assert not [each.getMessage() for each in caplog.records if each.name == "asyncio"]


Login = Callable[[NatsSettings, str, "Eavesdropper"], Awaitable[None]]


async def service_at(settings: NatsSettings, url: str, server: Eavesdropper) -> None:
    connection = NatsConnection(settings, url)
    connection.start()
    # It connects again after the first attempt has failed: all bytes of that one are there.
    await until(lambda: len(server.received) > 2)
    assert not connection.connected.is_set()
    await connection.close()


async def bot_at(settings: NatsSettings, url: str, server: Eavesdropper) -> None:
    with pytest.raises(ConnectionError):
        async with service_client(settings, url):
            pass


@pytest.mark.slow
async def test_a_server_without_tls_gets_no_login_if_tls_is_required(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async def attempt(ask: Login, scheme: str, first: bool, promise: bytes) -> None:
        settings = NatsSettings(
            user="engine",
            password=Secret("open-sesame"),
            tls_ca=str(authority.file),
            tls_first=first,
        )
        async with Eavesdropper.listening(INFO % promise) as server:
            await ask(settings, f"{scheme}://127.0.0.1:{server.port}", server)
        assert server.received
        server.check_that_no_login_was_sent()

    promises = (b"", b',"tls_available":true')
    cases = itertools.product([service_at, bot_at], ["tls", "nats"], [True, False], promises)
    await asyncio.gather(*(attempt(*case) for case in cases))
    assert "TLS is required" in caplog.text


async def test_if_tls_is_not_required_the_eavesdropper_gets_the_login() -> None:
    """Shows that the tests above can find a login."""
    settings = NatsSettings(user="engine", password=Secret("open-sesame"))
    async with Eavesdropper.listening(INFO % b"") as server:
        connection = NatsConnection(settings, f"nats://127.0.0.1:{server.port}")
        connection.start()
        await until(lambda: any(b"open-sesame" in heard for heard in server.received))
        await connection.close()


@pytest.mark.parametrize("first", [True, False])
async def test_a_server_that_comes_back_without_tls_gets_no_login(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture, first: bool
) -> None:
    server = tls_server(tmp_path, authority.certificate("server", "IP:127.0.0.1"), first=first)
    await server.start()
    settings = NatsSettings(
        user="engine",
        password=Secret("open-sesame"),
        tls_ca=str(authority.file),
        tls_first=first,
    )
    connection = NatsConnection(settings, server.url)
    connection.add_intake(["llm.request"], lambda msg: None)
    connection.start()
    await connection.start_intake()
    await server.stop()
    async with Eavesdropper.listening(INFO % b"", server.port) as impostor:
        await until(lambda: len(impostor.received) >= 1 + (not first))
        assert not connection.connected.is_set()
        await connection.close()
    impostor.check_that_no_login_was_sent()
    assert said(caplog) == ["lost"]


async def test_the_tls_context_is_strict(authority: Authority) -> None:
    context = client_options(NatsSettings(tls_ca=str(authority.file)), "nats://localhost")["tls"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
