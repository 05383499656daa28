"""Every way in which a server goes away: the engine logs loss and return once, and goes on."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from engine.config.settings import NatsSettings
from engine.traffic import connection as nats_connection
from engine.traffic.connection import NatsConnection
from tests.fakes.llm_server import Behaviour
from tests.support.nats_clusters import ROUTES, clustered
from tests.support.nats_proxy import Proxy
from tests.support.nats_servers import RawClient, Server, said, service
from tests.support.patience import WAIT_S, until
from tests.support.service_harness import Bot, House
from tests.support.tls_servers import INFO


async def test_a_server_in_lame_duck_mode_is_left_and_found_again(
    house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = 'lame_duck_duration: "30s"\nlame_duck_grace_period: "1s"'
    server = Server(tmp_path, config)
    async with server, service(house, server) as app:
        bot = await house.new_bot()
        hold = asyncio.Event()
        house.llm.plan(Behaviour(hold=hold))
        await bot.chat("Hi", request_id="r")
        await house.llm.wait_for_requests(1)
        server.signal(signal.SIGUSR2)
        await until(lambda: not app.inspect().connection.connected.is_set())
        hold.set()
        await server.ended()
        await server.start()
        answer = await bot.ask_until_answered("Hi", request_id="r")
        assert answer["content"] == "You said: Hi"
        assert len(house.llm.prompts) == 1
    assert said(caplog) == ["lost", "connected"]


@pytest.mark.real
async def test_a_server_of_a_cluster_in_lame_duck_mode_is_left_for_another(
    house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = clustered(tmp_path / "first", [])
    async with first:
        await until(lambda: ROUTES.search(first.log) is not None)
        second = clustered(
            tmp_path / "second", [f"nats://{each}" for each in ROUTES.findall(first.log)]
        )
        async with second:
            await until(lambda: "Route connection created" in second.log)
            await left_for_another(house, first, second)
    assert said(caplog) == ["lost", "connected"]


async def left_for_another(house: House, first: Server, second: Server) -> None:
    async with service(house, first) as app:
        connection = app.inspect().connection
        client = connection.client
        assert client is not None
        await until(lambda: len(client.servers) == 2)
        first.signal(signal.SIGUSR2)
        await until(lambda: connection.losses == 1)
        await connection.connected.wait()
        bot = await Bot.connect(second.url)
        house.bots.append(bot)
        answer = await bot.ask_until_answered("Hi", request_id="r")
        assert answer["content"] == "You said: Hi"


@pytest.mark.process
async def test_a_server_that_falls_silent_is_given_up_and_found_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[bytes] = []

    def on_msg(msg: Msg) -> None:
        heard.append(msg.data)

    server = Server(tmp_path, "")
    async with server:
        connection = NatsConnection(NatsSettings(), server.url, ping_interval_s=1.0)
        connection.add_intake(["in"], on_msg)
        connection.start()
        await connection.start_intake()
        server.signal(signal.SIGSTOP)
        try:
            await until(lambda: not connection.connected.is_set())
        finally:
            server.signal(signal.SIGCONT)
        await connection.connected.wait()
        async with RawClient.connected(server.port) as bot:
            async with asyncio.timeout(WAIT_S):
                while not heard:
                    await bot.publish("in", b"")
                    await bot.settle()
                    await asyncio.sleep(0.01)
        losses = connection.losses
        await connection.close()
    # Once for each: a server that gets no processor for seconds falls silent again.
    assert said(caplog)[: 2 * losses] == ["lost", "connected"] * losses


async def test_an_engine_that_the_server_disconnected_as_too_slow_comes_back(
    house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(tmp_path, 'max_pending: 2MB\nwrite_deadline: "1s"')
    async with (
        server,
        Proxy.to(server.port) as proxy,
        service(house, server, url=f"nats://127.0.0.1:{proxy.port}"),
    ):
        bot = await Bot.connect(server.url)
        house.bots.append(bot)
        assert (await bot.ask("before"))["content"] == "You said: before"
        proxy.flowing.clear()
        async with RawClient.connected(server.port) as flood:
            for _ in range(16):
                await flood.publish("llm.request", b"[" * 900_000)
            await flood.settle()
        await until(lambda: "Slow Consumer" in server.log)
        proxy.flowing.set()
        answer = await bot.ask_until_answered("after", request_id="r")
        assert answer["content"] == "You said: after"
    assert said(caplog) == ["lost", "connected"]


async def test_an_error_of_the_server_that_closes_the_connection_for_good_is_survived(
    house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(tmp_path, "")
    async with server, service(house, server) as app:
        bot = await house.new_bot()
        connection = app.inspect().connection
        client = connection.client
        assert client is not None
        transport = client._transport
        assert transport is not None
        transport.write(b"NONSENSE\r\n")  # -ERR 'Unknown Protocol Operation'
        await until(lambda: connection.losses == 1)
        answer = await bot.ask_until_answered("Hi", request_id="r")
        assert answer["content"] == "You said: Hi"
        assert connection.client is not client
    assert said(caplog) == ["lost", "connected"]


async def test_a_late_error_of_a_client_that_was_replaced_changes_nothing(
    house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(tmp_path, "")
    async with server, service(house, server) as app:
        replaced = app.inspect().connection.client
        assert replaced is not None
        assert replaced._transport is not None
        replaced._transport.write(b"NONSENSE\r\n")
        await until(lambda: app.inspect().connection.client is not replaced)
        await app.inspect().connection.connected.wait()
        await replaced._error_cb(OSError("the connection broke"))
        assert app.inspect().connection.statistics().connected
    assert said(caplog) == ["lost", "connected"]


async def test_a_connection_that_is_lost_while_subscribing_is_not_taken_for_connected(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_connection, "FLUSH_TIMEOUT_S", 0.1)
    caplog.set_level(logging.DEBUG, "rosey_llm.nats")

    async def go_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO % b"")
        while not (line := await reader.readline()).startswith(b"SUB"):
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        server.close()
        writer.close()

    server = await asyncio.start_server(go_away, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = NatsConnection(NatsSettings(), f"nats://127.0.0.1:{port}")
    connection.add_intake(["in"], lambda msg: None)
    intake = asyncio.create_task(connection.start_intake())
    await asyncio.sleep(0)
    connection.start()
    # Either may come first: the flush has a limit of its own.
    await until(lambda: "subscribing was interrupted" in caplog.text and connection.losses == 1)
    assert not connection.statistics().connected
    intake.cancel()
    await connection.close()
    assert said(caplog) == ["lost"]


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_start_ends_only_when_the_server_has_said_whether_the_engine_hears(
    monkeypatch: pytest.MonkeyPatch, refuses: bool
) -> None:
    monkeypatch.setattr(nats_connection, "FLUSH_TIMEOUT_S", 0.1)
    subject = NatsSettings().subjects.chat
    refusal = f"-ERR 'Permissions Violation for Subscription to \"{subject}\"'\r\n".encode()

    async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO % b"")
        answer, late = b"PONG\r\n", False
        while line := await reader.readline():
            if line.startswith(b"SUB"):
                late = True
            elif line.startswith(b"PING") and late:
                late = False  # this flush times out; the next one gets the answers to both
                answer = (refusal if refuses else b"") + 2 * answer
            elif line.startswith(b"PING"):
                writer.write(answer)
                answer = b"PONG\r\n"
        writer.close()

    server = await asyncio.start_server(answer_late, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = NatsConnection(NatsSettings(), f"nats://127.0.0.1:{port}")
    connection.add_intake([subject], lambda msg: None)
    connection.start()
    async with asyncio.timeout(WAIT_S):
        await connection.start_intake()
    assert connection.hearing.is_set() is not refuses
    assert (connection.refused is not None) is refuses
    await connection.close()
    server.close()
    await server.wait_closed()


@pytest.mark.process
async def test_a_close_that_takes_too_long_leaves_no_socket_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Server(tmp_path, "") as server, Proxy.to(server.port) as proxy:
        connection = NatsConnection(NatsSettings(), f"nats://127.0.0.1:{proxy.port}")
        connection.start()
        await connection.connected.wait()
        monkeypatch.setattr(nats_connection, "FLUSH_TIMEOUT_S", 0)
        await connection.close()
        async with asyncio.timeout(WAIT_S):
            await proxy.left.wait()


async def test_a_connection_that_is_closed_while_it_connects_leaves_no_socket_open() -> None:
    greeted, left = asyncio.Event(), asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO % b"")
        while line := await reader.readline():
            if line.startswith(b"PING"):
                greeted.set()
        left.set()
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = NatsConnection(NatsSettings(), f"nats://127.0.0.1:{port}")
    connection.start()
    async with asyncio.timeout(WAIT_S):
        await greeted.wait()
        await connection.close()
        await left.wait()
    server.close()
    await server.wait_closed()
