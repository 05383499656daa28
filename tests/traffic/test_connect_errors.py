"""The errors of `check` and `chat` for a NATS server that cannot be used."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from engine.client.credentials import LoginError
from engine.config.settings import NatsSettings
from engine.interfaces.terminal.service_client import service_client
from engine.traffic.connect_errors import ConnectError
from providers.validation import Secret
from tests.support.command_line import COMMAND
from tests.support.nats_servers import Server
from tests.support.patience import WAIT_S
from tests.support.tls_servers import INFO, LOGIN, Authority, Eavesdropper, tls_server

UNTRUSTED = "its certificate is not trusted: "
SET_CA = ". Set [nats] tls_ca to the authority that signed it, and url to a name in it."
SILENT = (
    "it does not answer as a NATS server does. Set [nats] url to a NATS server, "
    "as tls://... if it uses TLS, and tls_first as its handshake_first."
)
NO_LOGIN = (
    "it refuses the login. "
    "Set [nats] user and password, token or credentials as the server expects them."
)


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Server]:
    """A server without TLS."""
    async with Server(tmp_path, LOGIN) as server:
        yield server


async def error(url: str, **nats: Any) -> str:
    """Return the text of the ConnectError for `url`, after the URL."""
    login = {"user": "engine", "password": Secret("open-sesame")}
    with pytest.raises(ConnectError) as refused:
        async with service_client(NatsSettings(**login | nats), url):
            pass
    problem = str(refused.value)
    assert "open-" not in problem
    assert problem.startswith(f"Cannot connect to NATS at {url}: ")
    return problem.removeprefix(f"Cannot connect to NATS at {url}: ")


@pytest.mark.process
async def test_each_failure_to_connect_says_what_to_do(
    tmp_path: Path, authority: Authority, stranger: Authority, plain: Server
) -> None:
    files = authority.certificate("server", "IP:127.0.0.1")
    elsewhere = authority.certificate("elsewhere", "DNS:elsewhere.example")
    ca = str(authority.file)
    async with AsyncExitStack() as stack:
        folders = [tmp_path / name for name in ("first", "named")]
        for folder in folders:
            folder.mkdir()
        first, named = [
            await stack.enter_async_context(server)
            for server in (
                tls_server(folders[0], files),
                tls_server(folders[1], elsewhere),
            )
        ]
        silent = await stack.enter_async_context(Eavesdropper.listening(b""))
        cases = {
            error("nats://127.0.0.1:9"): "Connection refused. "
            "Start the server, or correct [nats] url.",
            error(f"nats://127.0.0.1:{silent.port}"): SILENT,
            error(plain.url, password=Secret("open-barley")): NO_LOGIN,
            error(first.url): SILENT,
            error(first.url, tls_ca=ca, tls_first=False): SILENT,
            error(first.url, tls_ca=ca, password=Secret("open-barley")): NO_LOGIN,
            error(first.url, tls_ca=str(stranger.file)): UNTRUSTED
            + f"unable to get local issuer certificate{SET_CA}",
            error(named.url, tls_ca=ca): UNTRUSTED
            + f"IP address mismatch, certificate is not valid for '127.0.0.1'{SET_CA}",
            error(plain.url, tls_ca=ca, tls_first=False): "TLS is required, but the server "
            "does not offer it; no login was sent. Correct [nats], or the server.",
        }
        assert await asyncio.gather(*cases) == list(cases.values())


async def test_a_refused_login_is_the_reason_also_if_the_server_is_gone_afterwards() -> None:
    refused = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO % b"" + b"-ERR 'Authorization Violation'\r\n")
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        server.close()  # each later attempt finds no server
        refused.set()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    assert await error(url) == NO_LOGIN
    await refused.wait()
    await server.wait_closed()


async def test_a_server_that_speaks_before_tls_gets_an_error_that_names_the_setting() -> None:
    async with Eavesdropper.listening(INFO % b"") as server:
        with pytest.raises(ssl.SSLError) as refused:
            await asyncio.open_connection(
                "127.0.0.1", server.port, ssl=ssl.create_default_context()
            )
    assert str(ConnectError("nats://host", refused.value)) == (
        "Cannot connect to NATS at nats://host: it does not begin with TLS. "
        "Set [nats] tls_first = false, or handshake_first: true in the server's tls block."
    )


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (
            OSError("Multiple exceptions: [Errno 111] ..., [Errno 111] ..."),
            "none of its addresses answers. Start the server, or correct [nats] url.",
        ),
        (
            LoginError("a is of no use"),
            "a is of no use. Correct [nats], or the server.",
        ),
    ],
)
def test_a_login_in_the_url_is_left_out(reason: Exception, text: str) -> None:
    error = ConnectError("nats://bob:open-sesame@host", reason)
    assert str(error) == f"Cannot connect to NATS at nats://host: {text}"


@pytest.mark.process
@pytest.mark.parametrize(
    ("command", "code", "line"),
    [("check", 1, "NATS      FAILS  {}"), ("chat", 3, "rosey-llm cannot start: {}")],
)
async def test_the_commands_print_it_in_one_line(
    tmp_path: Path, plain: Server, command: str, code: int, line: str
) -> None:
    config = {
        "default_provider": "scripted",
        "fallback_providers": [],
        "nats": {"url": plain.url, "user": "engine", "password": "open-barley"},
    }
    (tmp_path / "rosey-llm.toml").write_text(tomlkit.dumps(config))
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, command),
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(WAIT_S):
        printed, _ = await process.communicate()
    assert process.returncode == code
    lines = [" ".join(each.split()) for each in printed.decode().splitlines()]
    assert (
        " ".join(line.format(f"Cannot connect to NATS at {plain.url}: {NO_LOGIN}").split()) in lines
    )
