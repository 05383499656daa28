"""The whole service as a process: it answers, is killed, restarts, and remembers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.bot_urls import ready_url
from tests.support.patience import WAIT_S
from tests.support.service_harness import Bot, House

pytestmark = pytest.mark.process

CONFIG = """
default_provider = "openai"
fallback_providers = []
[http]
port = 0
[nats]
port = 0
[providers.openai]
base_url = "{url}/v1"
api_key = "${{STORY_KEY}}"
"""


class Service:
    """A running `rosey-llm run`, started as an operator starts it; `ready` is its first line."""

    def __init__(self, process: asyncio.subprocess.Process, ready: str) -> None:
        self.process = process
        self.ready = ready
        self.url = ready_url(ready)

    async def end(self, number: signal.Signals) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return await self.process.wait()


@asynccontextmanager
async def service(folder: Path, llm: LLMServer) -> AsyncIterator[Service]:
    (folder / "rosey-llm.toml").write_text(CONFIG.format(url=llm.url))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "engine.cli",
        "run",
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "STORY_KEY": "sk-story", "PYTHONPATH": str(Path.cwd())},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WAIT_S):
            ready = (await process.stdout.readline()).decode()
        assert "is ready" in ready
        yield Service(process, ready)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_conversation_continues_after_a_kill(tmp_path: Path, llm: LLMServer) -> None:
    house = House(tmp_path, llm)
    async with service(tmp_path, llm) as running:
        assert f"database {tmp_path}" in running.ready
        bot = await Bot.connect(running.url)
        answer = await bot.ask("My name is Alice", request_id="r1")
        assert answer["content"] == "You said: My name is Alice"
        assert house.history() == [
            ("message", "My name is Alice"),
            ("answer", "You said: My name is Alice"),
        ]
        assert await running.end(signal.SIGKILL) == -signal.SIGKILL
        await bot.close()
    async with service(tmp_path, llm) as running:
        bot = await Bot.connect(running.url)
        assert (await bot.ask("again", request_id="r1"))["content"] == answer["content"]
        await bot.ask("What is my name?")
        assert [m["content"] for m in llm.prompts[-1]][1:] == [
            "My name is Alice",
            "You said: My name is Alice",
            "What is my name?",
        ]
        assert len(llm.prompts) == 2
        await bot.close()
        assert await running.end(signal.SIGTERM) == 0


async def test_what_was_accepted_before_a_kill_is_answered_after_it_in_order(
    tmp_path: Path, llm: LLMServer
) -> None:
    hold = asyncio.Event()
    async with service(tmp_path, llm) as running:
        bot = await Bot.connect(running.url)
        llm.plan(Behaviour(hold=hold))
        for number in range(4):
            await bot.chat(f"m{number}", request_id=f"r{number}")
        await llm.wait_for_requests(1)
        await bot.ask("help", channel="#other")  # answered after the others were stored
        await running.end(signal.SIGKILL)
        await bot.close()
    hold.set()
    async with service(tmp_path, llm) as running:
        bot = await Bot.connect(running.url)
        for number in range(4):
            answer = await bot.ask_until_answered("again", request_id=f"r{number}")
            assert answer["content"] == f"You said: m{number}"
        await bot.close()
        assert await running.end(signal.SIGTERM) == 0
    house = House(tmp_path, llm)
    assert [content for kind, content in house.history() if kind == "message"] == [
        f"m{number}" for number in range(4)
    ]
    assert house.rows("SELECT * FROM mailbox") == []


async def test_sigterm_finishes_the_running_answer_and_a_second_signal_does_not_wait(
    tmp_path: Path, llm: LLMServer
) -> None:
    hold = asyncio.Event()
    async with service(tmp_path, llm) as running:
        bot = await Bot.connect(running.url)
        llm.plan(Behaviour(hold=hold))
        await bot.chat("Hi", request_id="r")
        await llm.wait_for_requests(1)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.stdout is not None
        assert b"draining" in await running.process.stdout.readline()
        hold.set()
        assert (await bot.outcomes(1))[0]["content"] == "You said: Hi"
        await bot.close()  # while the server runs: otherwise nats-py may fail in closing
        assert await running.process.wait() == 0
    async with service(tmp_path, llm) as running:
        bot = await Bot.connect(running.url)
        llm.plan(Behaviour(hang_after=0))
        await bot.chat("Hi", request_id="r2")
        await llm.wait_for_requests(2)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.stdout is not None
        assert b"draining" in await running.process.stdout.readline()
        await bot.close()
        assert await running.end(signal.SIGINT) == 130


@pytest.mark.parametrize("place", ["ps", "files"])
async def test_the_key_is_in_no_argument_and_no_file(
    tmp_path: Path, llm: LLMServer, place: str
) -> None:
    async with service(tmp_path, llm) as running:
        bot = await Bot.connect(running.url)
        llm.plan(Behaviour(status=401, body={"error": {"message": "wrong key sk-story"}}))
        error = await bot.ask("Hi")
        assert "sk-story" not in str(error)
        await bot.close()
        if place == "ps":
            arguments = Path(f"/proc/{running.process.pid}/cmdline").read_bytes()
            assert b"sk-story" not in arguments
        await running.end(signal.SIGTERM)
    for file in (tmp_path / "data").rglob("*"):
        assert file.is_dir() or b"sk-story" not in file.read_bytes(), file
