"""`inspect()` returns the parts of a running engine, and cannot be used to exchange them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from engine import LLMService
from engine.app import build_app
from engine.errors import CannotStart
from providers import ScriptedProvider
from tests.support.service_harness import House


async def test_the_parts_of_an_engine_in_process_are_those_in_use() -> None:
    provider = ScriptedProvider()
    async with LLMService(provider) as service:
        await service.chat("Hello", "#a")
        engine = service.inspect().engine
        assert [actor.channel_id for actor in engine.supervisor.residents] == ["#a"]
        assert engine.chain.primary is provider
        assert engine.turn_settings.personas is engine.personas
        assert await engine.database.write(lambda connection: connection is not None)


async def test_what_is_inspected_cannot_be_changed() -> None:
    async with LLMService(ScriptedProvider()) as service:
        parts = service.inspect()
        with pytest.raises(dataclasses.FrozenInstanceError):
            parts.engine = parts.engine  # type: ignore[misc]


async def test_a_service_that_could_not_start_shows_its_next_engine(tmp_path: Path) -> None:
    service = LLMService(ScriptedProvider(), database=tmp_path)  # a folder
    first = service.inspect().engine
    with pytest.raises(CannotStart):
        await service.start()
    assert service.inspect().engine is not first
    await service.aclose()


async def test_the_parts_of_a_service_are_those_in_use(house: House) -> None:
    await house.open()
    await house.bot.ask("Hello", "#a")
    assert house.app is not None
    parts = house.app.inspect()
    assert [actor.channel_id for actor in parts.engine.supervisor.residents] == ["#a"]
    assert parts.connection.connected.is_set()
    assert parts.connection.client is not None
    assert parts.connection.client.is_connected
    assert parts.embedded is not None
    assert parts.embedded.pid is not None
    await house.restart()
    assert house.app.inspect().connection is not parts.connection
    assert parts.connection.client is None


async def test_a_service_on_another_server_has_no_embedded_one(house: House) -> None:
    await house.open()
    house.config["nats"] = {"url": house.url}
    app = build_app(house.settings)
    assert app.inspect().embedded is None
    await app.drain()
