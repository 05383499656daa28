"""A service's bots in processes of their own: with the login that it wrote, and without it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.fakes.llm_server import LLMServer
from tests.support.bot_urls import bot_url, port_of
from tests.support.nats_servers import lasting_port
from tests.support.patience import WAIT_S
from tests.support.service_harness import Bot
from tests.support.service_process import configuration, running

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[1]

# What any account of the machine can do: it knows the port, and no login.
STRANGER = """
    import asyncio, logging, sys
    import nats

    logging.disable()

    async def main():
        heard = []
        async def hear(msg):
            heard.append(msg.subject)
        try:
            nc = await nats.connect(sys.argv[1], allow_reconnect=False, max_reconnect_attempts=1)
            await nc.subscribe("llm.*", cb=hear)
            ask = b'{"channel_id": "#x", "args": "Hi"}'
            reply = await nc.request("rosey.command.chat", ask, timeout=120)
            print("answered", reply.data, heard)
        except Exception as exc:
            print(type(exc).__name__, exc)

    asyncio.run(main())
"""
BOT = """
    import asyncio
    from rosey_llm import Client

    async def main():
        async with Client() as rosey:
            print((await rosey.chat("Hello", "#lobby")).content)

    asyncio.run(main())
"""
THREADS = """
    from rosey_llm.sync import Client

    with Client() as rosey:
        print(rosey.chat("Hello", "#lobby").content)
"""


async def printed(program: str, folder: Path, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(program), *arguments),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'engine' / 'api' / 'library'}"},
    )
    async with asyncio.timeout(WAIT_S):
        said, _ = await process.communicate()
    return said.decode()


async def test_a_process_without_the_login_neither_hears_nor_asks(
    tmp_path: Path, llm: LLMServer
) -> None:
    async with running(tmp_path, configuration(llm)) as service:
        address = f"nats://127.0.0.1:{port_of(bot_url(tmp_path))}"
        assert "Authorization Violation" in await printed(STRANGER, tmp_path, address)
        assert llm.prompts == []
        assert service.bot.received == []
        answered = await printed(STRANGER, tmp_path, bot_url(tmp_path))
        assert answered.startswith("answered")
        assert "You said: Hi" in answered


@pytest.mark.parametrize("program", [BOT, THREADS], ids=["asyncio", "threads"])
async def test_the_client_library_finds_the_login_in_the_folder(
    tmp_path: Path, llm: LLMServer, program: str
) -> None:
    async with running(tmp_path, configuration(llm)):
        assert await printed(program, tmp_path) == "You said: Hello\n"


async def test_a_bot_that_is_connected_finds_the_service_again_after_it_was_killed(
    tmp_path: Path, llm: LLMServer
) -> None:
    config = configuration(llm, nats={"port": lasting_port()})
    async with running(tmp_path, config) as service:
        url = bot_url(tmp_path)
        bot = await Bot.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.05)
        assert (await bot.ask("Hi"))["content"] == "You said: Hi"
        await service.kill()
        assert bot_url(tmp_path) == url  # the file is left
        async with running(tmp_path, config):
            assert bot_url(tmp_path) == url
            assert (await bot.ask_until_answered("Again"))["content"] == "You said: Again"
            await bot.close()
