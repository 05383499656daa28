"""The connection to a NATS server that is down at first, goes away and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from engine.app import build_app
from engine.config.loading import parse
from engine.traffic import connection
from engine.traffic.connection import NatsConnection, NotConnected
from engine.traffic.embedded.server import BotRights, EmbeddedNats
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.nats_servers import lasting_port, said
from tests.support.patience import WAIT_S
from tests.support.service_harness import Bot, House

pytestmark = pytest.mark.process


def nats_of(folder: Path, port: int = 0) -> EmbeddedNats:
    return EmbeddedNats(
        folder / "nats-server", port, rights=BotRights(publish=[">"], subscribe=[">"])
    )


async def test_the_engine_waits_for_a_server_that_is_down_at_start(
    tmp_path: Path, llm: LLMServer, caplog: pytest.LogCaptureFixture
) -> None:
    nats = nats_of(tmp_path, lasting_port())
    await nats.start()
    await nats.stop()
    house = House(tmp_path, llm)
    house.config["nats"] = {
        "url": nats.url,
        "user": nats.engine_user,
        "password": nats.engine_password,
    }
    app = build_app(house.settings)
    starting = asyncio.create_task(app.start())
    async with asyncio.timeout(WAIT_S):
        while "No connection to NATS" not in caplog.text:
            await asyncio.wait({starting}, timeout=0.01)
    assert not starting.done()
    await nats.start()
    await starting
    bot = await Bot.connect(nats.bot_url)
    assert (await bot.ask("Hi"))["content"] == "You said: Hi"
    await bot.close()
    await app.drain()
    await nats.stop()
    lines = said(caplog)
    assert lines == ["lost", "connected"]
    assert "may be lost" not in caplog.text  # nothing could be sent yet


async def test_an_answer_that_ends_while_the_server_is_away_comes_when_it_is_back(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await house.open()
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    await house.bot.chat("Hi", request_id="r")
    await house.llm.wait_for_requests(1)
    assert house.app is not None
    embedded = house.app.inspect().embedded
    assert embedded is not None
    assert embedded.pid is not None
    os.kill(embedded.pid, signal.SIGKILL)
    hold.set()
    # The server is started again on its port; both sides reconnect by themselves. A bot that was
    # not back yet when the answer went out sends its request again.
    answer = await house.bot.ask_until_answered("Hi", request_id="r")
    assert answer["content"] == "You said: Hi"
    assert len(house.llm.prompts) == 1
    lines = said(caplog)
    assert lines == ["lost", "connected"]
    assert caplog.text.count("may be lost") == 1


async def test_after_a_protocol_error_closes_the_client_a_new_one_connects(
    house: House,
) -> None:
    await house.open()
    assert house.app is not None
    nats = house.app.inspect().connection
    client = nats.client
    assert client is not None
    # What nats-py does on an -ERR of the server: it closes for good and does not reconnect.
    await client._process_err("'maximum payload violation'")
    answer = await house.bot.ask_until_answered("Hi", request_id="r")
    assert nats.client is not client
    assert answer["content"] == "You said: Hi"


async def test_an_answer_larger_than_nats_takes_is_replaced_by_an_error(house: House) -> None:
    house.config["conversation"] = {"max_reply_bytes": 4 * 1024 * 1024, "stream": False}
    await house.open()
    house.llm.plan(Behaviour(text="x" * 2_000_000))
    error = await house.bot.ask("Hi")
    assert (error["type"], error["code"]) == ("llm_error", "provider_error")
    assert "more than the NATS server takes" in error["error"]
    await house.bot.client.flush()
    assert await house.bot.outcomes(1) == [error]
    assert (await house.bot.ask("still there?"))["content"] == "You said: still there?"


async def test_a_wrong_login_is_logged_and_retried(
    tmp_path: Path, llm: LLMServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with nats_of(tmp_path) as nats:
        config = {"nats": {"url": nats.url, "user": "engine", "password": "wrong"}}
        app = build_app(parse(config | {"default_provider": "scripted"}, tmp_path))
        starting = asyncio.create_task(app.start())
        async with asyncio.timeout(WAIT_S):
            while "No connection to NATS" not in caplog.text:
                await asyncio.wait({starting}, timeout=0.01)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    assert "wrong" not in caplog.text


async def test_a_server_that_stops_for_a_while_does_not_leave_the_engine_deaf(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FLUSH_TIMEOUT_S", 0.2)
    await house.open()
    assert house.app is not None
    embedded = house.app.inspect().embedded
    assert embedded is not None
    assert embedded.pid is not None
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    await house.bot.chat("Hi", request_id="r")
    await house.llm.wait_for_requests(1)
    os.kill(embedded.pid, signal.SIGSTOP)
    hold.set()
    nats = house.app.inspect().connection
    with pytest.raises(NotConnected):
        await flush_often(nats)
    os.kill(embedded.pid, signal.SIGCONT)
    assert (await house.bot.ask_until_answered("Hi", request_id="r"))["content"] == "You said: Hi"
    assert (await house.bot.ask("and now?"))["content"] == "You said: and now?"
    assert nats.losses == 0


async def test_the_drain_works_if_no_background_task_runs_any_more(
    house: House,
) -> None:
    await house.open()
    assert house.app is not None
    parts = house.app.inspect()
    await parts.background.end()
    await house.bot.close()
    await house.app.drain()
    assert parts.embedded is not None
    assert parts.embedded.pid is None
    house.bots, house.app = [], None


async def flush_often(nats: NatsConnection) -> None:
    for _ in range(1000):  # a signal takes its time: the server may answer once or twice more
        await nats.flush()
