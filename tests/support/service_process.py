"""Test helpers that start `rosey-llm run` in a child process and read its log."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import tomlkit

from tests.fakes.llm_server import LLMServer
from tests.support.bot_urls import ready_url
from tests.support.command_line import COMMAND
from tests.support.patience import WAIT_S
from tests.support.service_harness import Bot


def configuration(llm: LLMServer, **more: Any) -> dict[str, Any]:
    """Return a configuration with `llm` as the only provider, and further sections `more`."""
    openai = {"base_url": f"{llm.url}/v1", "api_key": "sk-run-key", "max_retries": 0}
    return {
        "default_provider": "openai",
        "fallback_providers": [],
        "nats": {"port": 0},
        "http": {"enabled": False},
        "providers": {"openai": openai | {"default_model": "test-model"}},
    } | more


class Service:
    """A running service, and a bot that is connected to it."""

    def __init__(self, process: asyncio.subprocess.Process, bot: Bot, errors: Path) -> None:
        self.process = process
        self.bot = bot
        self._errors = errors

    @property
    def log(self) -> str:
        return self._errors.read_text()

    @property
    def lines(self) -> list[str]:
        return self.log.splitlines()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The log's entries, if its format is JSON."""
        return [orjson.loads(line) for line in self._errors.read_bytes().split(b"\n") if line]

    async def logged(self, reached: Callable[[], bool]) -> None:
        """Wait until `reached` is true."""
        async with asyncio.timeout(WAIT_S):
            while not reached():  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.01)

    async def kill(self) -> None:
        """Kill the service with SIGKILL.

        The bot disconnects before: nats-py may wait for ever for a server that died.
        """
        await self.bot.close()
        self.process.kill()
        await self.process.wait()

    async def end(self) -> int:
        """Drain the service; return its exit code."""
        await self.bot.close()
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WAIT_S):
            return await self.process.wait()


@asynccontextmanager
async def running(
    folder: Path,
    config: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    *,
    stderr: int | None = None,
) -> AsyncIterator[Service]:
    """Run the service until the end of the block; it logs to a file, or to descriptor `stderr`."""
    (folder / "rosey-llm.toml").write_text(tomlkit.dumps(config))
    errors = folder / "log"
    with errors.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, "run"),
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=file if stderr is None else stderr,
            env={**os.environ, **(environment or {})},
        )
    bot = None
    try:
        assert process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            ready = (await process.stdout.readline()).decode()
        assert "is ready: NATS " in ready, errors.read_text()
        bot = await Bot.connect(ready_url(ready))
        yield Service(process, bot, errors)
    finally:
        if bot is not None:
            await bot.close()
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(WAIT_S):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
