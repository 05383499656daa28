"""Ready means that the engine hears: logins that may not subscribe, or may not publish."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from engine.traffic import intake
from tests.fakes.llm_server import LLMServer
from tests.support.command_line import COMMAND
from tests.support.nats_logins import GUEST, INPUTS, LOGIN, OUTPUTS, logins
from tests.support.nats_servers import Server, service, starting
from tests.support.patience import WAIT_S, until
from tests.support.scraper import get
from tests.support.service_harness import Bot, House
from tests.support.service_process import configuration

pytestmark = pytest.mark.process


async def readiness(house: House) -> tuple[int, dict[str, Any]]:
    assert house.app is not None
    status, found, _ = await get(f"{house.app.http_url}/readyz")
    return status, found["parts"]["nats"]


async def until_ready(house: House, wanted: bool) -> None:
    async with asyncio.timeout(WAIT_S):
        while ((await readiness(house))[0] == 200) is not wanted:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.02)


def refusals(caplog: pytest.LogCaptureFixture, subject: str) -> int:
    return sum(
        text.startswith("NATS does not let the engine") and subject in text
        for text in caplog.messages
    )


@pytest.mark.parametrize("deaf", [["rosey.command.chat"], ["llm.request"], INPUTS])
async def test_an_input_that_may_not_be_subscribed_to_makes_the_service_not_ready(
    house: House, tmp_path: Path, deaf: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    heard = [subject for subject in INPUTS if subject not in deaf]
    async with (
        Server(tmp_path, logins(hears=heard)) as server,
        service(house, server, **LOGIN) as app,
    ):
        status, part = await readiness(house)
        assert (status, part["ok"]) == (503, False)
        assert f"subscribe to {' and '.join(deaf)}." in part["detail"]
        assert "docs/security.md" in part["detail"]
        assert app.unheard == part["detail"]
        for subject in INPUTS:
            assert refusals(caplog, subject) == (subject in deaf)
        bot = await Bot.connect(server.url, **GUEST)
        house.bots.append(bot)
        for subject in heard:
            answer = await bot.call(subject, {"args": "Hi", "message": "Hi", "channel_id": "c"})
            assert answer["type"] in ("llm_response", "llm_error")


@pytest.mark.parametrize("how", ["reload", "restart"])
async def test_a_permission_that_is_given_later_is_used_after_the_next_connect(
    house: House,
    tmp_path: Path,
    how: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "TRY_AGAIN_S", 0.1)
    async with (
        Server(tmp_path, logins(hears=["llm.request"])) as server,
        service(house, server, **LOGIN) as app,
    ):
        assert (await readiness(house))[0] == 503
        server.config = logins()
        if how == "reload":
            server.reload()
        else:
            await server.stop()
            await server.start()
        async with asyncio.timeout(WAIT_S):
            await app.hears()
        await until_ready(house, True)
        assert app.unheard is None
        bot = await Bot.connect(server.url, **GUEST)
        house.bots.append(bot)
        assert (await bot.ask("Hi"))["content"] == "You said: Hi"
        assert "The engine hears rosey.command.chat now." in caplog.messages
        assert refusals(caplog, "rosey.command.chat") == 1


async def test_a_permission_that_is_taken_away_makes_the_service_not_ready(
    house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        Server(tmp_path, logins()) as server,
        service(house, server, **LOGIN) as app,
    ):
        assert (await readiness(house))[0] == 200
        assert app.unheard is None
        server.config = logins(hears=["rosey.command.chat"])
        await server.stop()
        await server.start()
        await until(lambda: refusals(caplog, "llm.request") == 1)
        await until_ready(house, False)
        # Refused again after each reconnect, but logged once.
        await server.stop()
        await server.start()
        async with asyncio.timeout(WAIT_S):
            while (await readiness(house))[1]["detail"] != app.unheard:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert refusals(caplog, "llm.request") == 1


@pytest.mark.parametrize(
    ("mute", "ready"), [("llm.response", False), ("llm.error", False), ("llm.stream", True)]
)
async def test_an_outcome_that_may_not_be_published_makes_the_service_not_ready(
    house: House, tmp_path: Path, mute: str, ready: bool, caplog: pytest.LogCaptureFixture
) -> None:
    says = [subject for subject in OUTPUTS if subject != mute]
    async with (
        Server(tmp_path, logins(says=says)) as server,
        service(house, server, **LOGIN),
    ):
        assert (await readiness(house))[0] == 200
        bot = await Bot.connect(server.url, **GUEST)
        house.bots.append(bot)
        for _ in range(2):
            assert (await bot.ask("Hi"))["type"] == "llm_response"
            assert (await bot.call("llm.request", b"no json"))["type"] == "llm_error"
        await until(lambda: refusals(caplog, mute) == 1)
        await until_ready(house, ready)
        _, part = await readiness(house)
        assert ("publish on" in part["detail"]) is not ready
        assert (mute in part["detail"]) is not ready
        await bot.ask("Hi")
        assert refusals(caplog, mute) == 1


async def test_without_the_micro_service_the_service_is_ready(
    house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        Server(tmp_path, logins(services=[])) as server,
        service(house, server, **LOGIN) as app,
    ):
        assert (await readiness(house))[0] == 200
        assert app.unheard is None
        assert refusals(caplog, "$SRV.PING") == 1


async def test_a_reply_subject_of_a_bot_says_nothing_about_the_service(
    house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Server(tmp_path, logins()) as server, service(house, server, **LOGIN):
        bot = await Bot.connect(server.url, **GUEST)
        house.bots.append(bot)
        question = {"args": "Hi", "channel_id": "c"}
        await bot.send("rosey.command.chat", question, reply="llm.response.x")
        await until(lambda: "NATS refused" in caplog.text)
        assert (await readiness(house))[0] == 200


async def test_a_service_that_starts_before_its_server_is_not_ready_either(
    house: House, tmp_path: Path
) -> None:
    server = Server(tmp_path, logins(hears=[]))
    async with starting(house, server, **LOGIN) as task:
        await server.start()
        try:
            async with asyncio.timeout(WAIT_S):
                await task
            assert (await readiness(house))[0] == 503
        finally:
            await house.close()
            await server.stop()


async def test_run_says_that_it_is_not_ready_and_later_that_it_is(
    tmp_path: Path, llm: LLMServer
) -> None:
    async with Server(tmp_path, logins(hears=["llm.request"])) as server:
        config = configuration(llm, nats={"url": server.url, **LOGIN})
        (tmp_path / "rosey-llm.toml").write_text(tomlkit.dumps(config))
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, "run"), cwd=tmp_path, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(WAIT_S):
                first = (await process.stdout.readline()).decode()
                server.config = logins()
                server.reload()
                second = (await process.stdout.readline()).decode()
        finally:
            process.terminate()
            async with asyncio.timeout(WAIT_S):
                rest, _ = await process.communicate()
    assert re.match(
        r"rosey-llm is running, but not ready\. NATS .* subscribe to rosey\.command\.chat\. ", first
    )
    assert second.startswith("rosey-llm is ready: NATS ")
    assert process.returncode == 0, rest


@pytest.mark.parametrize("command", ["run", "chat"])
async def test_a_service_that_hears_nothing_can_be_stopped(
    tmp_path: Path, llm: LLMServer, command: str
) -> None:
    async with Server(tmp_path, logins(hears=[])) as server:
        config = configuration(llm, nats={"url": server.url, **LOGIN})
        (tmp_path / "rosey-llm.toml").write_text(tomlkit.dumps(config))
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, command), cwd=tmp_path, stdin=pipe, stdout=pipe, stderr=pipe
        )
        assert process.stdout is not None
        if command == "run":
            async with asyncio.timeout(WAIT_S):
                assert b"not ready" in await process.stdout.readline()
            process.terminate()
        async with asyncio.timeout(WAIT_S):
            _, errors = await process.communicate(b"Hi\n")
    assert process.returncode == (0 if command == "run" else 3)
    if command == "chat":
        # It connects as a bot before it starts a service, and that login hears no answer either.
        assert "this login may subscribe neither to llm.response and" in errors.decode()
