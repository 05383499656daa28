"""Tests of `timeout` without `first_content_timeout`: it is the limit of the first piece, too."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from providers import registry
from providers.validation import ValidationError
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.service_harness import House

KINDS = [*registry.KINDS]


@pytest.mark.parametrize(
    ("kind", "limit_s"),
    [("ollama", 300.0), ("local", 120.0), ("openai", 60.0), ("openrouter", 60.0), ("scripted", 60)],
)
def test_a_table_without_limits_has_the_kinds_own_limit_for_the_first_piece(
    kind: str, limit_s: float
) -> None:
    config = registry.build("mine", {"kind": kind}).config
    assert (config.first_content_timeout or config.timeout) == limit_s


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("timeout", [1, 60.0, 900.0])
def test_a_timeout_alone_is_the_limit_of_the_first_piece_too(kind: str, timeout: float) -> None:
    config = registry.build("mine", {"kind": kind, "timeout": timeout}).config
    assert config.timeout == timeout
    assert (config.first_content_timeout or config.timeout) == timeout


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_of_the_first_piece_stays_as_it_is_set(kind: str) -> None:
    table: dict[str, Any] = {"kind": kind, "first_content_timeout": 5.0}
    assert registry.build("mine", table).config.first_content_timeout == 5.0
    config = registry.build("mine", {**table, "timeout": 1.0}).config
    assert (config.timeout, config.first_content_timeout) == (1.0, 5.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_timeout_is_named_as_the_timeout(kind: str) -> None:
    with pytest.raises(ValidationError) as caught:
        registry.build("mine", {"kind": kind, "timeout": "soon"})
    assert str(caught.value) == 'providers.mine.timeout: expected a number, got "soon"'


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", ["ollama", "openai"])
@pytest.mark.process
async def test_a_channel_hears_of_the_limit_that_was_set(
    tmp_path: Path, kind: str, stream: bool
) -> None:
    async with LLMServer() as server, House(tmp_path, server) as house:
        path = "" if kind == "ollama" else "/v1"
        house.config |= {
            "default_provider": kind,
            "conversation": {"stream": stream},
            "providers": {
                kind: {"base_url": server.url + path, "timeout": 0.2, "max_retries": 0},
            },
        }
        await house.open()
        server.plan(Behaviour(hold=asyncio.Event()))
        error = await house.bot.ask("hello")
    assert error["code"] == "provider_timeout"
    assert error["error"].endswith("gave no answer within 0.2 s")
