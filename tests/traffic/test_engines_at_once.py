"""Two engines of which one ends, or starts, at the same time as the other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine.app import build_app
from engine.errors import SecondEngine, StartLater
from tests.fakes.llm_server import Behaviour
from tests.support.nats_clusters import ROUTES, clustered
from tests.support.nats_logins import LOGIN, logins
from tests.support.nats_servers import Server, service
from tests.support.patience import WAIT_S, until
from tests.support.second_engines import PROBES, opened, refusal
from tests.support.service_harness import Bot, House

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("patient")]


async def test_an_engine_that_is_ending_is_waited_for(
    house: House, second: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hold = asyncio.Event()
    async with Server(tmp_path, "") as server, service(house, server) as first:
        bot = await house.new_bot()
        house.llm.plan(Behaviour(hold=hold))
        await bot.chat("Hi", request_id="r")
        await house.llm.wait_for_requests(1)
        ending = asyncio.create_task(first.drain())
        async with asyncio.TaskGroup() as tasks:
            starting = tasks.create_task(opened(second, server))
            await until(lambda: "Waiting up to 20 s: another engine" in caplog.text)
            assert "is still ending" in caplog.text
            assert not starting.done()
            hold.set()
        await ending
        (answer,) = await bot.outcomes(1)
        assert answer["content"] == "You said: Hi"
        assert (await bot.ask("Hi"))["content"] == "You said: Hi"
        await second.close()


async def asked(bot: Bot) -> dict[str, Any]:
    """Return what the engine says of itself."""
    return await bot.call("$SRV.INFO.rosey-llm", b"")


async def test_an_engine_that_does_not_end_in_time_is_a_failure_that_may_pass(
    house: House, second: House, tmp_path: Path
) -> None:
    hold = asyncio.Event()
    second.config["service"] = {"drain_timeout_s": 0.1}
    async with Server(tmp_path, "") as server, service(house, server) as first:
        bot = await house.new_bot()
        house.llm.plan(Behaviour(hold=hold))
        await bot.chat("Hi")
        await house.llm.wait_for_requests(1)
        ending = asyncio.create_task(first.drain())
        while (await asked(bot))["metadata"]["state"] != "draining":
            pass
        refused = await refusal(second, server)
        assert isinstance(refused, StartLater)
        assert refused.exit_code == 75
        assert "is still ending. Try again when it has ended." in str(refused)
        hold.set()
        await ending


@pytest.mark.parametrize("login", [{}, LOGIN], ids=["micro service", "probe"])
async def test_of_two_that_start_at_once_at_most_one_stays(
    house: House, second: House, tmp_path: Path, login: dict[str, str]
) -> None:
    async with Server(tmp_path, logins(**PROBES) if login else "") as server:
        apps = []
        for each in (house, second):
            each.config["nats"] = {"url": server.url} | login
            apps.append(build_app(each.settings))
        async with asyncio.timeout(WAIT_S):
            results = await asyncio.gather(*(app.start() for app in apps), return_exceptions=True)
        refused = [each for each in results if each is not None]
        assert refused
        assert all(isinstance(each, SecondEngine | StartLater) for each in refused)
        if not login:
            assert len(refused) == 1
        for app, result in zip(apps, results, strict=True):
            if result is None:
                await app.drain()


@pytest.mark.real
async def test_of_two_on_two_servers_of_a_cluster_at_most_one_stays(
    house: House, second: House, tmp_path: Path
) -> None:
    async with clustered(tmp_path / "one", []) as one:
        await until(lambda: ROUTES.search(one.log) is not None)
        routes = [f"nats://{each}" for each in ROUTES.findall(one.log)]
        async with clustered(tmp_path / "two", routes) as two:
            await until(lambda: "Route connection created" in two.log)
            apps = []
            for each, server in ((house, one), (second, two)):
                each.config["nats"] = {"url": server.url}
                apps.append(build_app(each.settings))
            async with asyncio.timeout(WAIT_S):
                results = await asyncio.gather(
                    *(app.start() for app in apps), return_exceptions=True
                )
            refused = [each for each in results if each is not None]
            assert len(refused) == 1, results
            assert isinstance(refused[0], SecondEngine | StartLater)
            for app, result in zip(apps, results, strict=True):
                if result is None:
                    await app.drain()
