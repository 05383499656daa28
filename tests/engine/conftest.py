"""Fixtures of the engine's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.llm_server import LLMServer
from tests.support.command_line import SCRIPTED, rosey, running
from tests.support.history_command import TOLD


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration and a database; nothing runs there."""
    folder = tmp_path_factory.mktemp("told")
    (folder / "rosey-llm.toml").write_text(SCRIPTED)
    with running(folder) as ready:
        assert ready
        for user, channel, said in TOLD:
            rosey(folder, "chat", "--channel", channel, "--user", user, said=said)
    return folder


@pytest.fixture
async def other() -> AsyncIterator[LLMServer]:
    """A second language model server."""
    async with LLMServer(lambda body: f"other: {body['messages'][-1]['content']}") as server:
        yield server
