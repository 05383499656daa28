from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.llm_server import LLMServer
from tests.house import House


@pytest.fixture
async def llm() -> AsyncIterator[LLMServer]:
    """A language model server that does as it is told."""
    async with LLMServer() as server:
        yield server


@pytest.fixture
async def house(tmp_path: Path, llm: LLMServer) -> AsyncIterator[House]:
    """An engine with its own NATS server and database, and `llm` as its provider."""
    async with House(tmp_path, llm) as house:
        yield house
