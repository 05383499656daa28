"""The embedded NATS server, as its users and the operating system see it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import stat
import sys
import textwrap
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import nats
import orjson
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from engine.traffic.embedded.server import (
    BotLogin,
    BotRights,
    EmbeddedNats,
    NatsServerFailed,
    StoreInUse,
)
from tests.support.bot_urls import login_of
from tests.support.patience import WAIT_S

pytestmark = pytest.mark.process

INPUTS = ("rosey.command.chat", "llm.request")
OUTPUTS = ("llm.response", "llm.error", "llm.stream")
RIGHTS = BotRights(publish=INPUTS, subscribe=OUTPUTS)


def embedded(store_dir: Path, port: int = 0, logins: Sequence[BotLogin] = ()) -> EmbeddedNats:
    return EmbeddedNats(store_dir, port, rights=RIGHTS, logins=logins)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    async with embedded(tmp_path / "nats") as server:
        yield server


@asynccontextmanager
async def connected(
    server: EmbeddedNats, user: str | None = None, password: str | None = None
) -> AsyncIterator[tuple[Client, asyncio.Queue[Exception]]]:
    """A connected client, and a queue of the errors that it gets."""
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    async with asyncio.timeout(WAIT_S):
        client = await nats.connect(
            server.url if user else server.bot_url,
            user=user,
            password=password,
            error_cb=errors.put,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
        )
    try:
        yield client, errors
    finally:
        await client.close()


@asynccontextmanager
async def engine(server: EmbeddedNats) -> AsyncIterator[Client]:
    async with connected(server, server.engine_user, server.engine_password) as (client, _):
        yield client


async def next_of(errors: asyncio.Queue[Exception]) -> Exception:
    async with asyncio.timeout(WAIT_S):
        return await errors.get()


async def gone(pid: int) -> bool:
    """Return whether the process ends within some seconds."""
    for _ in range(2000):
        if not alive(pid):
            return True
        await asyncio.sleep(0.01)
    return False


def alive(pid: int) -> bool:
    try:
        state = proc(pid, "stat").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def open_files(pid: int) -> list[Path]:
    return [fd.resolve() for fd in Path(f"/proc/{pid}/fd").iterdir()]


def running(server: EmbeddedNats) -> int:
    assert server.pid is not None
    return server.pid


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


async def test_stopping_twice_leaves_no_process(tmp_path: Path) -> None:
    server = embedded(tmp_path)
    await server.start()
    pid = running(server)
    await server.stop()
    await server.stop()

    assert server.pid is None
    assert not alive(pid)


async def test_starting_twice_starts_one_server(server: EmbeddedNats) -> None:
    pid = server.pid
    await server.start()

    assert server.pid == pid


async def test_a_stopped_server_starts_again(tmp_path: Path) -> None:
    server = embedded(tmp_path)
    for _ in range(2):
        async with server, engine(server) as nc:
            assert nc.is_connected


async def test_a_hung_server_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.traffic.embedded.process._STOP_LIMIT_S", 0.1)
    server = embedded(tmp_path)
    await server.start()
    pid = running(server)
    os.kill(pid, signal.SIGSTOP)
    await server.stop()

    assert not alive(pid)


async def test_a_server_that_dies_comes_back_on_its_port_with_its_password(
    server: EmbeddedNats, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rosey_llm.nats")
    keeper = asyncio.create_task(server.keep_running())
    port = server.port
    for _ in range(2):
        pid = running(server)
        os.kill(pid, signal.SIGKILL)
        assert await server.died() == -signal.SIGKILL
        for _ in range(1000):
            if server.pid is not None and f"NATS listens on {port} again." in caplog.text:
                break
            await asyncio.sleep(0.01)
        caplog.clear()
        assert server.port == port
        async with engine(server) as nc:
            assert nc.is_connected
    await server.stop()
    await keeper


async def test_it_comes_back_when_its_port_is_free_again(
    server: EmbeddedNats, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = asyncio.create_task(server.keep_running())
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        os.kill(running(server), signal.SIGKILL)
        await server.died()
        thief.bind(("127.0.0.1", server.port))
        thief.listen()
        for _ in range(1000):
            if "address already in use" in caplog.text:
                break
            await asyncio.sleep(0.01)
    for _ in range(1000):
        with suppress(nats.errors.Error, OSError):
            async with engine(server):
                break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("the server did not come back")
    assert caplog.text.count("Trying again.") == 1
    await server.stop()
    await keeper


async def test_keep_running_ends_after_stop(tmp_path: Path) -> None:
    server = embedded(tmp_path)
    await server.start()
    keeper = asyncio.create_task(server.keep_running())
    await asyncio.sleep(0)
    await server.stop()
    async with asyncio.timeout(WAIT_S):
        await keeper


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path, 0, rights=BotRights(publish=["not..valid"]))
    with pytest.raises(NatsServerFailed, match=r"not\.\.valid"):
        await server.start()
    assert server.pid is None
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


DEATH_SIGNALS = [
    pytest.param(
        True,
        marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a death signal"),
    ),
    False,
]


@pytest.mark.parametrize("death_signal", DEATH_SIGNALS)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_the_server_ends_with_an_engine_that_was_killed(
    tmp_path: Path, loop: str, death_signal: bool
) -> None:
    program = f"""
        import asyncio, {loop}
        from pathlib import Path
        from engine.traffic.embedded.server import BotRights, EmbeddedNats

        async def main():
            server = EmbeddedNats(
                Path({str(tmp_path)!r}),
                0,
                rights=BotRights(),
                death_signal={death_signal},
            )
            await server.start()
            print(server.pid, flush=True)
            await asyncio.Event().wait()

        {loop}.run(main())
    """
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(program)), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    was_alive = alive(pid)
    parent.kill()
    await parent.wait()

    assert was_alive
    assert await gone(pid)
    async with embedded(tmp_path) as successor:
        assert successor.pid is not None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_without_a_death_signal_a_guard_waits_and_leaves_with_the_server(
    tmp_path: Path,
) -> None:
    server = EmbeddedNats(tmp_path, 0, rights=BotRights(), death_signal=False)
    for end in (server.stop, lambda: os.kill(running(server), signal.SIGKILL)):
        await server.start()
        pid = running(server)
        (guard,) = map(int, proc(pid, f"task/{pid}/children").split())
        async with asyncio.timeout(WAIT_S):  # it closes its files once it runs
            while server.store_dir / "lock" in open_files(guard):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        ending = end()
        if ending is not None:
            await ending
        else:
            await server.died()
        assert await gone(guard)
    await server.stop()


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
