"""Fixtures and settings that all tests share."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

from tests.fakes.llm_server import LLMServer
from tests.support import environment
from tests.support.process_guard import ProcessGuard
from tests.support.service_harness import House
from tests.support.tls_servers import Authority

# Since Python 3.13, sqlite3 warns of the connection that the import of Datasette leaves open.
if sys.version_info >= (3, 13):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        importlib.import_module("datasette.filters")
        gc.collect()

environment.enter()
# A shell makes background jobs ignore Ctrl-C, and our children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long examples take depends more on the machine than on the code under test. They are the same
# in each run, unless their number is set: `ROSEY_LLM_EXAMPLES` in tests/properties.
settings.register_profile(
    "any machine",
    deadline=None,
    derandomize="ROSEY_LLM_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")

# The shared fixtures that start a process: nats-server, openssl.
STARTING_FIXTURES = {"house", "authority"}


@pytest.hookimpl(tryfirst=True)  # before pytest leaves tests out by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a fixture which starts a process, and all that takes seconds."""
    for item in items:
        if STARTING_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.process)
        real = item.get_closest_marker("real") is not None
        if real or is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.slow)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return how many workers `-n auto` means: two for each processor.

    Many tests wait for a process, the disk or a time limit. Without these there is nothing to gain.
    """
    return None if "not process" in config.option.markexpr else (os.cpu_count() or 1) * 2


def pytest_configure(config: pytest.Config) -> None:
    if "not process" in config.option.markexpr:
        config.pluginmanager.register(ProcessGuard())


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


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")
