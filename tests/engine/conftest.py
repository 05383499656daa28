"""Fixtures of the engine's tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.llm_server import LLMServer
from tests.support.audit_database import engine
from tests.support.command_line import SCRIPTED
from tests.support.history_command import TOLD
from tests.support.service_harness import Bot


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration and a database; nothing runs there."""
    folder = tmp_path_factory.mktemp("told")
    (folder / "rosey-llm.toml").write_text(SCRIPTED)
    with engine(folder) as url:
        asyncio.run(_tell(url))
    return folder


async def _tell(url: str) -> None:
    bot = await Bot.connect(url)
    for user, channel, said in TOLD:
        for line in said.rstrip("\n").split("\n"):
            await bot.ask(line, channel, username=user)
    await bot.close()


@pytest.fixture
async def other() -> AsyncIterator[LLMServer]:
    """A second language model server."""
    async with LLMServer(lambda body: f"other: {body['messages'][-1]['content']}") as server:
        yield server
