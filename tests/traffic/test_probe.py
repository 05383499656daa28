"""The probe with which `rosey-llm chat` finds out whether an engine listens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.client.subjects import PROBE_HEADER
from engine.config.settings import NatsSettings, SubjectSettings
from engine.interfaces.terminal.service_client import service_client
from providers.validation import Secret
from tests.fakes.llm_server import LLMServer
from tests.support.command_line import COMMAND
from tests.support.documented_server import documented_server
from tests.support.patience import WAIT_S
from tests.support.scraper import scrape
from tests.support.service_harness import House
from tests.support.service_process import configuration, running

pytestmark = pytest.mark.process

INPUTS = ("rosey.command.chat", "llm.request")


async def chat(folder: Path, said: str) -> str:
    """Return the output of `rosey-llm chat` for the lines of a pipe."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "chat", "--channel", "#terminal"), cwd=folder, stdin=pipe, stdout=pipe
    )
    async with asyncio.timeout(WAIT_S):
        answered, _ = await process.communicate(said.encode())
    assert process.returncode == 0
    return answered.decode()


async def endpoints(client: Any) -> list[dict[str, Any]]:
    reply = await client.request("$SRV.STATS.rosey-llm", b"", timeout=WAIT_S)
    found: list[dict[str, Any]] = orjson.loads(reply.data)["endpoints"]
    return found


async def test_bots_see_only_the_conversation_of_a_chat_in_the_terminal(
    tmp_path: Path, llm: LLMServer
) -> None:
    async with running(tmp_path, configuration(llm, http={"port": 0})) as service:
        assert await chat(tmp_path, "Hello\n") == "You said: Hello\n"
        await service.bot.ask("Hi")
        heard = [each["channel_id"] for each in service.bot.received_outcomes()]
        assert heard == ["#terminal", "#lobby"]
        at_chat, at_request = await endpoints(service.bot.client)
        assert (at_chat["num_requests"], at_chat["num_errors"]) == (2, 0)
        assert (at_request["num_requests"], at_request["num_errors"]) == (0, 0)
        seen = await scrape((tmp_path / "data" / "rosey-llm.db.http").read_text().strip())
        assert seen.total("commands_total", result="invalid") == 0
        assert seen.total("nats_received_total") == 2


@pytest.mark.parametrize("subject", INPUTS)
async def test_only_the_sender_of_a_probe_gets_the_answer(house: House, subject: str) -> None:
    await house.open()
    reply = await house.bot.call(subject, b"{}", headers={PROBE_HEADER: "1"})
    assert (reply["type"], reply["code"]) == ("llm_error", "invalid_request")
    assert reply["error"].startswith("An engine is here")
    assert reply["request_id"]
    await house.bot.ask("Hi")
    assert [each["type"] for each in house.bot.received_outcomes()] == ["llm_response"]


@pytest.mark.parametrize("subject", INPUTS)
async def test_an_empty_request_is_an_error_like_any(house: House, subject: str) -> None:
    await house.open()
    reply = await house.bot.call(subject, b"")
    (heard,) = await house.bot.outcomes(1)
    assert reply == heard
    assert (heard["code"], heard["channel_id"]) == ("invalid_request", "")


@pytest.mark.parametrize("logins", ["permissions", "accounts"])
async def test_an_engine_is_found_with_any_login_that_may_ask_it(
    house: House, tmp_path: Path, logins: str
) -> None:
    settings = NatsSettings(user="alpha", password=Secret("alpha-secret"))
    async with (
        documented_server(house, tmp_path, logins) as server,
        service_client(settings, server.url) as bot,
    ):
        assert await bot.is_served()


async def test_an_engine_on_other_subjects_is_not_found(house: House) -> None:
    await house.open()
    subjects = SubjectSettings(chat="other.chat", request="other.request")
    async with service_client(NatsSettings(subjects=subjects), house.url) as bot:
        assert not await bot.is_served()
