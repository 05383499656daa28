"""Fixtures and settings that all tests share."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes.llm_server import LLMServer
from tests.house import House

# A shell makes background jobs ignore Ctrl-C, and our children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long examples take depends more on the machine than on the code under test.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.fixture
async def llm() -> AsyncIterator[LLMServer]:
    """A fake server of a language model."""
    async with LLMServer() as server:
        yield server


@pytest.fixture
async def house(tmp_path: Path, llm: LLMServer) -> AsyncIterator[House]:
    """An engine with its own NATS server and database, and with `llm` as its provider."""
    async with House(tmp_path, llm) as house:
        yield house
