"""Engines that meet after an outage of NATS: the one that was there sees the other, and says so."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import orjson
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from engine.app import build_app
from engine.errors import SecondEngine
from engine.traffic import other_engines
from tests.fakes.llm_server import LLMServer
from tests.support.nats_logins import GUEST, LOGIN
from tests.support.nats_servers import Server, service
from tests.support.patience import WAIT_S, until
from tests.support.second_engines import info, started
from tests.support.service_harness import House
from tests.support.service_process import configuration, running

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("patient")]


class Spy:
    """A client that answers the question of engines, and hears it before any of them asks again."""

    def __init__(self, server: Server, on_question: Callable[[Msg], Awaitable[None]]) -> None:
        self._server = server
        self._on_question = on_question
        self._returned = asyncio.Event()
        self._client = Client()

    @staticmethod
    def users(*logins: dict[str, str]) -> str:
        each = (f"{{ user: {login['user']}, password: {login['password']} }}" for login in logins)
        return f"authorization {{ users: [{', '.join(each)}] }}"

    async def __aenter__(self) -> Self:
        async def returned() -> None:
            self._returned.set()

        options: dict[str, Any] = {
            **GUEST,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.01,
            "reconnected_cb": returned,
        }
        await self._client.connect(self._server.url, **options)
        await self._client.subscribe("$SRV.INFO.rosey-llm", cb=self._on_question)
        await self._client.flush()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def outage(self) -> None:
        """Restart the server, and let engines in only once this client hears their questions."""
        await self._server.stop()
        self._server.config = self.users(GUEST)
        await self._server.start()
        async with asyncio.timeout(WAIT_S):
            await self._returned.wait()
        await self._client.flush()
        self._server.config = self.users(LOGIN, GUEST)
        self._server.reload()


async def test_an_engine_that_came_first_after_an_outage_is_told_of(
    house: House, tmp_path: Path, llm: LLMServer
) -> None:
    (tmp_path / "first").mkdir()
    async with (
        Server(tmp_path, "") as server,
        running(tmp_path / "first", configuration(llm, nats={"url": server.url})) as first,
    ):
        first.process.send_signal(signal.SIGSTOP)
        try:
            await server.stop()
            await server.start()
            async with started(house, server):
                first.process.send_signal(signal.SIGCONT)
                told = "It started while NATS was away: another engine"
                await first.logged(lambda: told in first.log)
                assert f"(process {os.getpid()} on" in first.log
        finally:
            first.process.send_signal(signal.SIGCONT)


async def test_after_an_outage_a_second_engine_that_is_meant_is_no_fault(
    house: House, second: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def on_question(msg: Msg) -> None:
        meant = orjson.loads(info("rosey.command.chat"))
        meant |= {"id": "meant", "metadata": {"name": "meant", "second": "true"}}
        await msg.respond(orjson.dumps(meant))
        await msg.respond(info("rosey.command.chat"))

    login: dict[str, Any] = {**LOGIN}
    async with (
        Server(tmp_path, Spy.users(LOGIN, GUEST)) as server,
        service(house, server, **login),
        started(second, server, second=True, **login),
        # A third one, which is not meant, so that the first one says what it sees.
        Spy(server, on_question) as third,
    ):
        await third.outage()
        await until(lambda: "It started while NATS was away" in caplog.text)
    (told,) = [text for text in caplog.messages if "NATS was away" in text]
    assert "an engine that does not say its name" in told
    assert "meant" not in told.partition("If two are meant")[0]


async def test_a_server_that_is_lost_during_the_question_is_asked_again(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server must be lost within this time, which is waited for in full.
    monkeypatch.setattr(other_engines, "FIRST_ANSWER_S", 10.0)
    questions = []

    async def on_question(msg: Msg) -> None:
        questions.append(msg)
        if len(questions) > 1:  # it has lost the first one, as an engine may
            await msg.respond(info("rosey.command.chat"))

    async with (
        Server(tmp_path, Spy.users(LOGIN, GUEST)) as server,
        Spy(server, on_question) as spy,
    ):
        house.config["nats"] = {"url": server.url} | LOGIN
        house.app = build_app(house.settings)
        starting = asyncio.create_task(house.app.start())
        await until(lambda: len(questions) == 1)
        await spy.outage()
        with pytest.raises(SecondEngine):
            await starting
