"""A second engine on the same subjects sees the first one, and does not start."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Any

import nats
import pytest
import tomlkit
from nats.aio.msg import Msg

from engine.errors import SecondEngine
from tests.fakes.llm_server import LLMServer
from tests.support.command_line import COMMAND
from tests.support.documented_server import documented_server
from tests.support.nats_logins import INPUTS, LOGIN, logins
from tests.support.nats_servers import Server, service
from tests.support.patience import WAIT_S, until
from tests.support.second_engines import PROBES, info, refusal, started
from tests.support.service_harness import Bot, House
from tests.support.service_process import configuration, running

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("patient")]


async def test_a_second_engine_refuses_to_start_and_names_the_first(
    house: House, second: House, tmp_path: Path
) -> None:
    async with Server(tmp_path, "") as server, service(house, server):
        refused = await refusal(second, server)
        assert isinstance(refused, SecondEngine)
        assert f"rosey-llm (process {os.getpid()} on {socket.gethostname()}" in str(refused)
        assert ", since 20" in str(refused)
        assert f"listens on {' and '.join(INPUTS)} at {server.url}" in str(refused)
        assert "rosey-llm run --second" in str(refused)
        bot = await house.new_bot()
        assert (await bot.ask("Hi"))["content"] == "You said: Hi"
        await bot.flush()
        assert len(bot.received_outcomes()) == 1


async def test_an_engine_that_shares_one_input_is_a_second_one(
    house: House, second: House, tmp_path: Path
) -> None:
    async with Server(tmp_path, "") as server, service(house, server):
        for subject in ("chat", "request"):
            refused = await refusal(second, server, subjects={subject: "other.subject"})
            assert isinstance(refused, SecondEngine)


async def test_engines_on_other_subjects_start_beside_each_other(
    house: House, second: House, tmp_path: Path
) -> None:
    other = {"chat": "other.chat", "request": "other.request"}
    async with (
        Server(tmp_path, "") as server,
        service(house, server),
        started(second, server, subjects=other),
    ):
        bot = await house.new_bot()
        assert (await bot.ask("Hi"))["content"] == "You said: Hi"


async def test_if_two_are_meant_the_second_starts(
    house: House, second: House, tmp_path: Path
) -> None:
    async with (
        Server(tmp_path, "") as server,
        service(house, server),
        started(second, server, second=True),
    ):
        bot = await house.new_bot()
        await bot.chat("Hi", request_id="both")
        assert {each["request_id"] for each in await bot.outcomes(2)} == {"both"}


async def test_a_killed_engine_is_no_first_one(tmp_path: Path, llm: LLMServer) -> None:
    first, folder = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    folder.mkdir()
    async with Server(tmp_path, "") as server:
        config = configuration(llm, nats={"url": server.url})
        async with running(first, config) as one:
            (folder / "rosey-llm.toml").write_text(tomlkit.dumps(config))
            pipe = asyncio.subprocess.PIPE
            two = await asyncio.create_subprocess_exec(
                *(COMMAND, "run"), cwd=folder, stdout=pipe, stderr=pipe
            )
            async with asyncio.timeout(WAIT_S):
                said, errors = await two.communicate()
            assert (two.returncode, said) == (4, b"")
            assert f"(process {one.process.pid} on" in errors.decode()
            await one.kill()
            async with running(folder, config) as two_again:
                assert (await two_again.bot.ask("Hi"))["content"] == "You said: Hi"
                assert "engine" not in two_again.log


async def test_a_chat_in_the_terminal_is_no_second_engine(tmp_path: Path, llm: LLMServer) -> None:
    async with (
        Server(tmp_path, "") as server,
        running(tmp_path, configuration(llm, nats={"url": server.url})),
    ):
        pipe = asyncio.subprocess.PIPE
        chat = await asyncio.create_subprocess_exec(
            *(COMMAND, "chat"), cwd=tmp_path, stdin=pipe, stdout=pipe
        )
        async with asyncio.timeout(WAIT_S):
            said, _ = await chat.communicate(b"Hello\n")
        assert (chat.returncode, said) == (0, b"You said: Hello\n")


# --- Permissions


async def test_with_the_documented_permissions_a_second_engine_is_seen(
    house: House, second: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with documented_server(house, tmp_path, "permissions") as server:
        assert isinstance(await refusal(second, server, **LOGIN), SecondEngine)
        assert "is not known" not in caplog.text
        assert "Violation" not in server.log


async def test_without_the_micro_service_the_probe_finds_the_first(
    house: House, second: House, tmp_path: Path
) -> None:
    async with Server(tmp_path, logins(**PROBES)) as server, service(house, server, **LOGIN):
        assert isinstance(await refusal(second, server, **LOGIN), SecondEngine)


async def test_a_login_that_may_not_ask_starts_with_a_warning(
    house: House, second: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    login: dict[str, Any] = {**LOGIN}
    async with (
        Server(tmp_path, logins()) as server,
        service(house, server, **login),
        started(second, server, **login),
    ):
        warnings = [text for text in caplog.messages if "another engine" in text]
        assert len(warnings) == 2  # one of each
        assert all("docs/security.md" in text for text in warnings)
        assert "NATS refused" not in caplog.text


# --- Clients that answer oddly, or say nothing


async def test_an_empty_answer_is_not_the_word_that_there_is_no_engine(
    house: House, tmp_path: Path
) -> None:
    async with Server(tmp_path, "") as server:
        bot = await nats.connect(server.url)

        async def on_question(msg: Msg) -> None:
            await msg.respond(b"")
            await msg.respond(info("rosey.command.chat"))

        await bot.subscribe("$SRV.INFO.rosey-llm", cb=on_question)
        await bot.flush()
        assert isinstance(await refusal(house, server), SecondEngine)
        await bot.close()


async def test_a_client_that_hears_everything_is_no_engine(
    house: House, tmp_path: Path, impatient: None
) -> None:
    async with Server(tmp_path, "") as server:
        spy = await nats.connect(server.url)
        await spy.subscribe(">")
        await spy.flush()
        async with started(house, server):
            bot = await house.new_bot()
            assert (await bot.ask("Hi"))["content"] == "You said: Hi"
        await spy.close()


async def test_an_engine_that_stood_still_is_told_of_once_it_goes_on(
    house: House,
    tmp_path: Path,
    llm: LLMServer,
    caplog: pytest.LogCaptureFixture,
    impatient: None,
) -> None:
    (tmp_path / "first").mkdir()
    async with (
        Server(tmp_path, "") as server,
        running(tmp_path / "first", configuration(llm, nats={"url": server.url})) as first,
    ):
        first.process.send_signal(signal.SIGSTOP)
        try:
            async with started(house, server):
                first.process.send_signal(signal.SIGCONT)
                stood = "It stood still while this one started: another engine"
                await until(lambda: stood in caplog.text)
                assert f"(process {first.process.pid} on" in caplog.text
                bot = await Bot.connect(server.url)
                await bot.close()
        finally:
            first.process.send_signal(signal.SIGCONT)
