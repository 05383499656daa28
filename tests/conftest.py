from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes.llm_server import LLMServer
from tests.house import House

# A shell has what it starts in the background ignore Ctrl-C, and so would all that we start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long an example takes, and finding one, says more of the machine than of what is tested.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


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
