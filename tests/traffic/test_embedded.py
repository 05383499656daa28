"""What an embedded NATS server lets bots do, where it listens, and what its files show."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from engine.traffic.embedded.server import BotLogin, EmbeddedNats, StoreInUse
from tests.support.bot_urls import login_of
from tests.support.embedded_nats import OUTPUTS, connected, embedded, engine, running
from tests.support.patience import WAIT_S
from tests.support.processes import open_files, proc

pytestmark = pytest.mark.process


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    async with embedded(tmp_path / "nats") as server:
        yield server


async def next_of(errors: asyncio.Queue[Exception]) -> Exception:
    async with asyncio.timeout(WAIT_S):
        return await errors.get()


async def settled(client: Client) -> None:
    # nats-py writes the PING of a flush before queued messages: let those go first.
    await asyncio.sleep(0)
    await client.flush(int(WAIT_S))


async def test_a_bot_without_credentials_gets_an_answer_from_the_engine(
    server: EmbeddedNats,
) -> None:
    async with engine(server) as nc, connected(server) as (bot, errors):

        async def answer(msg: Msg) -> None:
            await nc.publish(msg.reply, b"Hi " + msg.data)

        await nc.subscribe("llm.request", cb=answer)
        await settled(nc)
        reply = await bot.request("llm.request", b"Alice", timeout=WAIT_S)

        assert reply.data == b"Hi Alice"
        assert errors.empty()


async def test_a_bot_receives_what_the_engine_publishes(server: EmbeddedNats) -> None:
    async with engine(server) as nc, connected(server) as (bot, _):
        heard = [await bot.subscribe(subject) for subject in OUTPUTS]
        await settled(bot)
        for subject in OUTPUTS:
            await nc.publish(subject, subject.encode())

        assert [(await sub.next_msg(WAIT_S)).data.decode() for sub in heard] == list(OUTPUTS)


@pytest.mark.parametrize("subject", [*OUTPUTS, "_INBOX.someone.else", "$SYS.REQ.SERVER.PING"])
async def test_a_bot_cannot_publish_in_the_engines_name(server: EmbeddedNats, subject: str) -> None:
    async with engine(server) as nc, connected(server) as (bot, errors):
        heard = await nc.subscribe(subject)
        await settled(nc)
        await bot.publish(subject, b"forged")
        refusal = await next_of(errors)
        await nc.publish(subject, b"genuine")

        assert "permissions violation for publish" in str(refusal).lower()
        assert (await heard.next_msg(WAIT_S)).data == b"genuine"


@pytest.mark.parametrize("subject", ["llm.request", "rosey.command.chat", ">"])
async def test_a_bot_cannot_receive_other_bots_requests(server: EmbeddedNats, subject: str) -> None:
    async with connected(server) as (bot, errors):
        await bot.subscribe(subject)
        refusal = await next_of(errors)

        assert "permissions violation for subscription" in str(refusal).lower()


@pytest.mark.parametrize(
    ("user", "password"), [("engine", "guessed"), ("engine", ""), ("root", "guessed")]
)
async def test_a_wrong_password_is_refused(server: EmbeddedNats, user: str, password: str) -> None:
    # Without nats-py, which leaves its sockets open after a refusal.
    login = orjson.dumps({"user": user, "pass": password, "verbose": False})
    async with asyncio.timeout(WAIT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await reader.readline()
        writer.write(b"CONNECT " + login + b"\r\nPING\r\n")
        answer = await reader.read()
    writer.close()

    assert b"Authorization Violation" in answer
    assert b"PONG" not in answer


@pytest.mark.parametrize("password", ["12k", "true", "-1", "$PATH", "a b", "#x"])
async def test_any_password_is_taken_as_it_is(tmp_path: Path, password: str) -> None:
    server = embedded(tmp_path, logins=[BotLogin(name="alpha", password=password)])
    async with server, connected(server, "alpha", password) as (client, _):
        assert client.is_connected


async def test_if_its_port_is_taken_it_uses_the_next_free_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rosey_llm.nats")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        async with embedded(tmp_path, taken) as server, engine(server) as nc:
            assert nc.is_connected
            assert server.port > taken
            assert f"Port {taken} is taken; NATS listens on {server.port}." in caplog.text


async def test_a_free_port_is_used_as_requested(tmp_path: Path) -> None:
    got: list[bool] = []
    for _ in range(5):  # another process may take it in between
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        async with embedded(tmp_path, port) as server:
            got.append(server.port == port)
        if got[-1]:
            break
    assert got[-1]


async def test_two_servers_never_share_a_directory(tmp_path: Path) -> None:
    async with embedded(tmp_path) as first:
        with pytest.raises(StoreInUse, match=f"in use by process {os.getpid()}. Stop") as refused:
            await embedded(tmp_path).start()

        assert refused.value.owner == os.getpid()
        assert first.pid is not None
    async with embedded(tmp_path):
        pass


async def test_the_directory_stays_locked_while_a_server_runs(server: EmbeddedNats) -> None:
    assert server.store_dir / "lock" in open_files(running(server))


async def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        async with embedded(tmp_path / "a" / "nats") as server:
            modes = {
                name: stat.S_IMODE((server.store_dir / name).stat().st_mode)
                for name in (".", "lock", "nats-server.conf", "nats-server.log", "url")
            }
    finally:
        os.umask(old)
    assert modes.pop(".") == 0o700
    assert set(modes.values()) == {0o600}


async def test_no_file_but_url_and_no_command_line_contains_a_password(tmp_path: Path) -> None:
    alpha = BotLogin(name="alpha", password="open-barley")
    async with embedded(tmp_path, logins=[alpha]) as server:
        bot_password = login_of(server.bot_url)["pass"]
        secret = [each.encode() for each in (server.engine_password, alpha.password, bot_password)]
        texts = [proc(running(server), "cmdline").encode()]
        texts += [path.read_bytes() for path in tmp_path.iterdir() if path.name != "url"]
        url = (tmp_path / "url").read_bytes()

    assert not any(each in text for each in secret for text in texts)
    assert [each in url for each in secret] == [False, False, True]


async def test_it_listens_on_this_machine_only(server: EmbeddedNats) -> None:
    rows = proc(running(server), "net/tcp").splitlines()[1:]
    port = f"{server.port:04X}"
    listening = {row.split()[1] for row in rows if row.split()[3] == "0A"}

    assert f"0100007F:{port}" in listening
    assert f"00000000:{port}" not in listening


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_the_server_gets_none_of_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none-of-its-business")
    async with embedded(tmp_path / "nats") as server:
        variables = Path(f"/proc/{server.pid}/environ").read_bytes().split(b"\0")
    names = {each.partition(b"=")[0] for each in variables if each}
    # Python, which begins the process, sets LC_CTYPE by itself.
    assert names - {b"LC_CTYPE"} == {
        b"PATH",
        b"ROSEY_LLM_NATS_PASSWORD",
        b"ROSEY_LLM_NATS_PASSWORD_1",
    }


async def test_the_server_waits_minutes_for_an_engine_that_stands_still(tmp_path: Path) -> None:
    async with embedded(tmp_path / "nats"):
        settings = (tmp_path / "nats" / "nats-server.conf").read_text()
    assert 'write_deadline: "5m"' in settings
    assert 'ping_interval: "60s"' in settings
