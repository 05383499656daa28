"""A service that starts while the one before it, on the same database, still drains."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.app import build_app
from engine.errors import AlreadyRunning, StartLater
from engine.traffic import connection, intake
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.nats_servers import Server
from tests.support.patience import WAIT_S, until
from tests.support.service_harness import House


@asynccontextmanager
async def draining(house: House) -> AsyncIterator[asyncio.Event]:
    """Drain the service, which ends once the yielded event is set."""
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    await house.open()
    await house.bot.chat("Hi", request_id="r")
    await house.llm.wait_for_requests(1)
    assert house.app is not None
    ending = asyncio.create_task(house.app.drain())
    lock = house.folder / "data" / "rosey-llm.db.lock"
    await until(lambda: "which is ending" in lock.read_text())
    try:
        yield hold
    finally:
        hold.set()
        await ending


async def test_a_service_waits_for_the_one_before_it_to_end(
    house: House, tmp_path: Path, llm: LLMServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with House(tmp_path, llm) as after:
        async with draining(house) as hold:
            starting = asyncio.create_task(after.open())
            await until(lambda: "Waiting up to 20 s" in caplog.text)
            hold.set()
            await starting
        assert (await after.bot.ask("Hi", request_id="r"))["content"] == "You said: Hi"
        assert len(llm.prompts) == 1
        assert len([text for text in caplog.messages if text.startswith("Waiting")]) == 1


async def test_a_service_that_does_not_end_in_time_is_a_failure_that_may_pass(
    house: House, tmp_path: Path, llm: LLMServer
) -> None:
    async with draining(house):
        after = House(tmp_path, llm)
        after.config["service"] = {"drain_timeout_s": 0.01}
        with pytest.raises(StartLater, match="which is ending"):
            await build_app(after.settings).start()


async def test_a_service_that_runs_is_not_waited_for(
    house: House, tmp_path: Path, llm: LLMServer
) -> None:
    await house.open()
    with pytest.raises(AlreadyRunning, match="Stop that process first"):
        await build_app(House(tmp_path, llm).settings).start()


async def test_a_service_says_that_it_ends_before_it_waits_for_anything(
    house: House, tmp_path: Path, llm: LLMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FLUSH_TIMEOUT_S", WAIT_S)
    monkeypatch.setattr(intake, "UNSUBSCRIBE_LIMIT_S", WAIT_S)
    async with Server(tmp_path, "") as server:
        house.config["nats"] = {"url": server.url}
        await house.open()
        assert house.app is not None
        os.kill(server.pid, signal.SIGSTOP)  # it does not say that it has unsubscribed
        try:
            ending = asyncio.create_task(house.app.drain())
            await asyncio.sleep(0)
            after = House(tmp_path, llm)
            after.config["service"] = {"drain_timeout_s": 0.01}
            with pytest.raises(StartLater, match="which is ending"):
                await build_app(after.settings).start()
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await ending
