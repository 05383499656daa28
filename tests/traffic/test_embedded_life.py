"""The life of an embedded NATS server: starts, stops, deaths, and the engine's own death."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.traffic.embedded.server import BotRights, EmbeddedNats, NatsServerFailed
from tests.support.embedded_nats import embedded, engine, running
from tests.support.patience import WAIT_S, until
from tests.support.processes import alive, children, open_files

pytestmark = pytest.mark.process


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    async with embedded(tmp_path / "nats") as server:
        yield server


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
        again = f"NATS listens on {port} again."
        await until(lambda: server.pid is not None and again in caplog.text)  # noqa: B023 - at once
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
        await until(lambda: "address already in use" in caplog.text)
    await until(lambda: "NATS listens on" in caplog.text)
    async with engine(server) as nc:
        assert nc.is_connected
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
    await until(lambda: not alive(pid))
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
        (guard,) = children(pid)
        # It closes its files once it runs.
        await until(lambda: server.store_dir / "lock" not in open_files(guard))  # noqa: B023
        ending = end()
        if ending is not None:
            await ending
        else:
            await server.died()
        await until(lambda: not alive(guard))  # noqa: B023 - at once
    await server.stop()
