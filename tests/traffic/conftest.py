"""Fixtures of the tests of NATS."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.traffic import other_engines
from tests.fakes.llm_server import LLMServer
from tests.support.patience import WAIT_S
from tests.support.service_harness import House


@pytest.fixture
def second(tmp_path: Path, llm: LLMServer) -> House:
    (tmp_path / "second").mkdir()
    return House(tmp_path / "second", llm)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an engine wait for another one that gets no processor for a while."""
    monkeypatch.setattr(other_engines, "FIRST_ANSWER_S", WAIT_S)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an engine wait only shortly for a client that says nothing."""
    monkeypatch.setattr(other_engines, "FIRST_ANSWER_S", 0.1)
