"""`LLMService` made from a configuration, and with personas of a program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rosey_llm import Persona, load_settings

from engine import LLMService
from engine.config.loading import parse
from engine.errors import CannotStart
from providers import ScriptedProvider
from providers.base import Message
from tests.support.service_calls import rows_of

FILE = """
default_provider = "mine"
fallback_providers = []
[service]
bot_name = "Beth"
[storage]
path = "beth.db"
[providers.mine]
kind = "my_provider:Mine"
[personas.clerk]
prompt = "You are {bot_name}, a clerk."
"""
PROVIDER = """
from providers.scripted import ScriptedProvider

class Mine(ScriptedProvider):
    kind = "mine"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "my_provider.py").write_text(PROVIDER)
    path = tmp_path / "rosey-llm.toml"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize("loaded", [False, True])
async def test_a_configuration_brings_its_providers_its_personas_and_its_file(
    file: Path, loaded: bool
) -> None:
    config: Any = load_settings(file) if loaded else str(file)
    async with LLMService(config=config) as service:
        answer = await service.chat("Hello", persona="clerk")
        assert (answer.provider, answer.persona) == ("mine", "clerk")
    assert rows_of(file.parent / "beth.db", "SELECT count(*) FROM history") == [(2,)]


async def test_other_arguments_go_before_the_configuration(file: Path) -> None:
    provider = ScriptedProvider()
    async with LLMService(
        provider, config=file, database=":memory:", personas={"Clerk": "You are a poet."}
    ) as service:
        assert service.personas == ["default", "concise", "technical", "creative", "clerk"]
        await service.chat("Hello", persona="clerk")
    assert provider.calls[0].messages[0] == Message("system", "You are a poet.")
    assert not (file.parent / "beth.db").exists()


async def test_personas_are_prompts_or_records_and_may_have_the_bots_name() -> None:
    provider = ScriptedProvider()
    personas: dict[str, Persona | str] = {
        "pirate": "You are {bot_name}, a pirate.",
        "clerk": Persona(prompt="You are a clerk.", model="small", temperature=0.0),
    }
    async with LLMService(provider, personas=personas) as service:
        assert service.personas[-2:] == ["pirate", "clerk"]
        await service.set_persona("pirate")
        await service.chat("Hello")
        answer = await service.chat("Hello", persona="clerk")
    assert provider.calls[0].messages[0].content == "You are Rosey, a pirate."
    assert answer.model == "small"
    assert provider.calls[1].options.temperature == 0.0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"personas": {"two words": "x"}}, "personas.two words: expected a name of one word"),
        ({"personas": {"a": "x", "A": "y"}}, "personas.A: the same as personas.a"),
        ({"personas": {"a": 3}}, "personas.a: expected a prompt or a Persona, got 3"),
        ({"config": parse({}, Path()), "settings": parse({}, Path())}, "give one of them"),
    ],
)
def test_a_wrong_argument_of_the_service_is_a_value_error(
    arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        LLMService(ScriptedProvider(), **arguments)


def test_a_configuration_that_is_not_there_is_reported_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"none\.toml: cannot be read"):
        LLMService(config=tmp_path / "none.toml")


def test_without_a_provider_and_a_configuration_the_default_ones_answer() -> None:
    service = LLMService()
    assert [each.name for each in service.inspect().engine.chain.providers] == ["ollama", "local"]
