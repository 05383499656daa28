"""The client library over TLS: with every kind of server, and no login without it."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from pathlib import Path
from typing import Any

import pytest

from engine.client.address import CannotConnect
from engine.client.client import Client
from tests.support.nats_servers import service
from tests.support.service_harness import House
from tests.support.tls_servers import INFO, Authority, Eavesdropper, tls_server

pytestmark = pytest.mark.process
LOGIN = "engine:open-sesame"


def trusting(authority: Authority, own: tuple[Path, Path] | None = None) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=str(authority.file))
    if own is not None:
        context.load_cert_chain(*own)
    return {"tls": context}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_a_question_is_answered_over_tls_however_the_server_begins_it(
    house: House, tmp_path: Path, authority: Authority, first: bool, scheme: str
) -> None:
    server = tls_server(tmp_path, authority.certificate("server", "IP:127.0.0.1"), first=first)
    server.scheme = "tls"
    engine = {"user": "engine", "password": "open-sesame", "tls_ca": str(authority.file)}
    async with server, service(house, server, tls_first=first, **engine):
        address = f"{scheme}://{LOGIN}@127.0.0.1:{server.port}"
        async with Client(address, options=trusting(authority)) as rosey:
            assert (await rosey.chat("Hi", "#lobby")).content == "You said: Hi"


async def test_the_authorities_of_the_system_are_trusted_without_options(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tls_server(tmp_path, authority.certificate("server", "IP:127.0.0.1"), first=False)
    async with server:
        address = f"tls://{LOGIN}@127.0.0.1:{server.port}"
        with pytest.raises(CannotConnect, match=r"not trusted: .*\. Name the authority"):
            async with Client(address):
                pass
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        async with Client(address) as rosey:
            assert not await rosey.is_served()


async def test_a_server_may_ask_for_the_certificate_of_the_bot(
    tmp_path: Path, authority: Authority
) -> None:
    files = authority.certificate("server", "IP:127.0.0.1")
    own = authority.certificate("bot", "DNS:bot")
    async with tls_server(tmp_path, files, first=False, verified_by=authority.file) as server:
        address = f"tls://{LOGIN}@127.0.0.1:{server.port}"
        async with Client(address, options=trusting(authority, own)) as rosey:
            assert rosey.is_connected
        with pytest.raises(CannotConnect, match="requires a client certificate"):
            async with Client(address, options=trusting(authority)):
                pass


async def test_a_certificate_for_another_name_is_refused(
    tmp_path: Path, authority: Authority, stranger: Authority
) -> None:
    for at, files in enumerate(
        (
            stranger.certificate("server", "IP:127.0.0.1"),
            authority.certificate("server", "DNS:elsewhere.example"),
        )
    ):
        folder = tmp_path / str(at)
        folder.mkdir()
        async with tls_server(folder, files, first=False) as server:
            with pytest.raises(CannotConnect, match="certificate is not trusted"):
                async with Client(
                    f"tls://{LOGIN}@127.0.0.1:{server.port}", options=trusting(authority)
                ):
                    pass


@pytest.mark.slow
async def test_a_server_without_tls_gets_no_login(authority: Authority) -> None:
    async def attempt(scheme: str, promise: bytes, options: dict[str, Any]) -> None:
        async with Eavesdropper.listening(INFO % promise) as server:
            address = f"{scheme}://{LOGIN}@127.0.0.1:{server.port}"
            with pytest.raises(CannotConnect) as caught:
                async with Client(address, options=options):
                    pass
        assert "open-sesame" not in str(caught.value)
        assert server.received
        server.check_that_no_login_was_sent()

    promises = (b"", b',"tls_available":true')
    tls = trusting(authority)
    cases = [("tls", {}), ("tls", tls), ("nats", tls), ("tls", {"tls_handshake_first": False})]
    await asyncio.gather(
        *(
            attempt(scheme, promise, options)
            for (scheme, options), promise in itertools.product(cases, promises)
        )
    )


async def test_without_tls_the_eavesdropper_gets_the_login() -> None:
    """Shows that the test above can find a login."""
    async with Eavesdropper.listening(INFO % b"") as server:
        async with Client(f"nats://{LOGIN}@127.0.0.1:{server.port}"):
            pass
        assert any(b"open-sesame" in heard for heard in server.received)
