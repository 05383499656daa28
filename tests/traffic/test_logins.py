"""Every way to log in to a NATS server, and the errors if a login fails."""

from __future__ import annotations

import asyncio
import base64
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import nkeys  # type: ignore[import-untyped]
import orjson
import pytest

from engine.client.address import without_login
from engine.client.credentials import LoginError
from engine.config.settings import NatsSettings
from engine.interfaces.terminal.service_client import service_client
from engine.monitoring.nats_health import nats_health
from engine.traffic.connection import NatsConnection
from engine.traffic.login import client_options
from providers.validation import Secret
from tests.support.nats_servers import Server, said, service, starting
from tests.support.patience import until
from tests.support.service_harness import House


class Login(NamedTuple):
    """A server's configuration, and the settings with which engine and bot log in to it."""

    server: str
    engine: dict[str, Any]
    bot: dict[str, Any]


def password_login(folder: Path, secret: str) -> Login:
    config = f'authorization {{ user: engine, password: "{secret}" }}'
    login = {"user": "engine", "password": secret}
    return Login(config, login, login)


def token_login(folder: Path, secret: str) -> Login:
    return Login(f'authorization {{ token: "{secret}" }}', {"token": secret}, {"token": secret})


def nkey_login(folder: Path, secret: str) -> Login:
    pair = Pair(nkeys.PREFIX_BYTE_USER)
    path = folder / f"{secret}.nk"
    path.write_text(pair.seed + "\n")
    config = f"authorization {{ users: [{{ nkey: {pair.public} }}] }}"
    return Login(config, {"credentials": str(path)}, {"nkeys_seed_str": pair.seed})


def jwt_login(folder: Path, secret: str) -> Login:
    operator = Pair(nkeys.PREFIX_BYTE_OPERATOR)
    account = Pair(nkeys.PREFIX_BYTE_ACCOUNT)
    user = Pair(nkeys.PREFIX_BYTE_USER)
    limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    limits |= {"wildcards": True}
    path = folder / f"{secret}.creds"
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{account.jwt(user, 'user', limits)}\n"
        "------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    config = (
        f"operator: {operator.jwt(operator, 'operator', {})}\nresolver: MEMORY\n"
        f"resolver_preload {{ {account.public}: {operator.jwt(account, 'account', limits)} }}"
    )
    return Login(config, {"credentials": str(path)}, {"user_credentials": str(path)})


class Pair:
    """An nkey pair that signs JWTs."""

    def __init__(self, prefix: int) -> None:
        self.seed = nkeys.encode_seed(os.urandom(32), prefix).decode()
        self._keys = nkeys.from_seed(bytearray(self.seed.encode()))
        self.public = self._keys.public_key.decode()

    def jwt(self, subject: Pair, kind: str, limits: dict[str, Any]) -> str:
        about: dict[str, Any] = {"type": kind, "version": 2}
        if limits:
            about |= {"limits": limits} if kind == "account" else _NO_LIMITS
        claims = {"iss": self.public, "sub": subject.public, "name": kind, "iat": 1, "jti": "1"}
        head = orjson.dumps({"typ": "JWT", "alg": "ed25519-nkey"})
        text = f"{_base64(head)}.{_base64(orjson.dumps(claims | {'nats': about}))}"
        return f"{text}.{_base64(self._keys.sign(text.encode()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_NO_LIMITS = {"subs": -1, "data": -1, "payload": -1}
LOGINS = [password_login, token_login, nkey_login, jwt_login]


@pytest.mark.parametrize("login", LOGINS)
async def test_every_kind_of_login_works(house: House, tmp_path: Path, login: Any) -> None:
    right = login(tmp_path, "open-sesame")
    async with Server(tmp_path, right.server) as server, service(house, server, **right.engine):
        bot = await house.new_bot(**right.bot)
        assert (await bot.ask("Hi"))["content"] == "You said: Hi"


@pytest.mark.parametrize("login", LOGINS)
async def test_a_refused_login_is_logged_once_without_its_secret_and_retried_for_ever(
    house: House, tmp_path: Path, login: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    right, wrong = login(tmp_path, "open-sesame"), login(tmp_path, "open-barley")
    server = Server(tmp_path, wrong.server)
    async with server, starting(house, server, **right.engine) as start:
        await until(lambda: server.log.count("authentication error") >= 3)
        assert not start.done()
        assert [record for record in caplog.messages if "Authorization Violation" in record]
        assert said(caplog) == ["lost"]
        await server.stop()
        server.config = right.server
        await server.start()
        await start
        bot = await house.new_bot(**right.bot)
        assert (await bot.ask("Hi"))["content"] == "You said: Hi"
    assert said(caplog) == ["lost", "connected"]
    seed = right.bot.get("nkeys_seed_str", "open-sesame")
    assert seed not in caplog.text.replace(str(tmp_path), "").replace("open-sesame.creds", "")


async def test_a_login_that_is_withdrawn_is_logged_and_works_again_once_it_is_restored(
    house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    right, other = (password_login(tmp_path, word) for word in ("open-sesame", "open-barley"))
    server = Server(tmp_path, right.server)
    async with server, service(house, server, **right.engine):
        server.config = other.server
        server.reload()
        await until(lambda: "Authorization Violation" in caplog.text)
        server.config = right.server
        server.reload()
        await until(lambda: said(caplog) == ["lost", "connected"])
        bot = await house.new_bot(**right.bot)
        assert (await bot.ask_until_answered("Hi", request_id="r"))["content"] == "You said: Hi"


async def test_attempts_that_fail_leave_no_socket_open(house: House, tmp_path: Path) -> None:
    login = password_login(tmp_path, "open-sesame")
    server = Server(tmp_path, login.server)
    async with server, starting(house, server, user="engine", password="open-barley"):
        await until(lambda: server.log.count("authentication error") >= 2)
        before = sockets()
        await until(lambda: server.log.count("authentication error") >= 5)
        assert sockets() < before + 3  # three more attempts, of which one may still have its own


def sockets() -> int:
    """Return the number of sockets that this process has open."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # another thread has closed the file meanwhile
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return found


@pytest.mark.parametrize(
    "text", ["", "not a key", "SUAMX", "-----BEGIN NATS USER JWT-----\n", "ä", "\0" * 100]
)
def test_the_error_names_a_file_that_is_not_a_credentials_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "engine.creds"
    path.write_text(text)
    with pytest.raises(LoginError, match=r"engine\.creds is neither") as refused:
        client_options(NatsSettings(credentials=str(path)), "nats://localhost")
    assert not text.strip() or text not in str(refused.value)


async def test_the_engine_waits_for_a_credentials_file_that_is_missing(
    house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    login = jwt_login(tmp_path, "engine")
    path = Path(login.engine["credentials"])
    path.rename(tmp_path / "away")
    server = Server(tmp_path, login.server)
    async with server, starting(house, server, **login.engine) as start:
        await until(lambda: "engine.creds cannot be read: No such file" in caplog.text)
        path.touch()
        await asyncio.sleep(0)
        assert not start.done()
        (tmp_path / "away").rename(path)
        await start
    assert said(caplog) == ["lost", "connected"]


async def test_a_login_in_the_url_is_never_shown(
    tmp_path: Path, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(tmp_path, password_login(tmp_path, "open-sesame").server)
    async with server:
        house.config["nats"] = {"url": f"nats://engine:open-barley@127.0.0.1:{server.port}"}
        settings = house.settings.nats
        with pytest.raises(ConnectionError, match="it refuses the login") as refused:
            async with service_client(settings, settings.url):
                pass
    assert "open-barley" not in str(refused.value)
    assert without_login(settings.url) == f"nats://127.0.0.1:{server.port}"


def test_the_settings_do_not_show_their_secrets() -> None:
    settings = NatsSettings(password=Secret("open-sesame"), token=Secret("open-barley"))
    assert "open-" not in repr(settings)


@pytest.mark.process
async def test_readyz_says_that_the_login_is_refused_also_if_the_server_is_gone_afterwards(
    tmp_path: Path,
) -> None:
    right = password_login(tmp_path, "open-sesame")
    server = Server(tmp_path, right.server)
    async with server:
        settings = NatsSettings(user="engine", password=Secret("open-barley"))
        connection = NatsConnection(settings, server.url)
        connection.start()
        try:
            await until(lambda: connection.login_refused is not None)
            await server.stop()
            client = connection._connecting
            await until(lambda: connection._connecting is not client)  # its time was up
            health = nats_health(connection)
        finally:
            await connection.close()
    assert (health.ok, "it refuses the login" in health.detail) == (False, True)
    assert "open-barley" not in health.detail
