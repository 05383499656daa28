from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.loading import parse
from engine.config.personas import BUILT_IN, Persona, Personas, built_in
from engine.errors import UnknownPersona
from engine.interfaces.personas.persona_list import entries
from providers.validation import ValidationError


def test_the_four_built_in_personas_have_different_prompts() -> None:
    assert list(BUILT_IN) == ["default", "concise", "technical", "creative"]
    assert len({persona.prompt for persona in BUILT_IN.values()}) == 4


def test_every_built_in_persona_begins_with_the_bots_name() -> None:
    for persona in built_in("Beth").values():
        assert persona.prompt.startswith("Your name is Beth. You a")
    for persona in built_in("").values():
        assert persona.prompt.startswith("You a")


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("You are {bot_name}, also called {bot_name}.", "You are Beth, also called Beth."),
        ("You are a pirate. {channel} {} {{bot_name} }", "You are a pirate. {channel} {} {Beth }"),
        ("You are a pirate.", "You are a pirate."),
    ],
)
def test_a_persona_of_the_file_has_the_bots_name_only_where_it_asks_for_it(
    tmp_path: Path, prompt: str, wanted: str
) -> None:
    values = {"service": {"bot_name": " Beth "}, "personas": {"pirate": {"prompt": prompt}}}
    assert parse(values, tmp_path).personas["pirate"].prompt == wanted


def test_a_persona_that_asks_for_the_name_of_a_bot_without_one_is_refused(tmp_path: Path) -> None:
    values = {"service": {"bot_name": ""}, "personas": {"pirate": {"prompt": "Be {bot_name}."}}}
    with pytest.raises(ValidationError) as caught:
        parse(values, tmp_path)
    assert str(caught.value) == (
        "personas.pirate.prompt: contains {bot_name}, but service.bot_name is empty"
    )


def test_the_built_in_personas_of_a_bot_with_another_name_are_listed_as_built_in(
    tmp_path: Path,
) -> None:
    listed = entries(parse({"service": {"bot_name": "Beth"}}, tmp_path))
    assert [each.built_in for each in listed] == [True] * 4


def test_names_are_matched_without_regard_to_case() -> None:
    personas = Personas({**BUILT_IN, "Pirate": Persona(prompt="Arr")})
    assert personas.get("PIRATE") == ("pirate", Persona(prompt="Arr"))
    assert "Concise" in personas


def test_the_error_for_an_unknown_persona_lists_the_known_ones() -> None:
    with pytest.raises(UnknownPersona, match="There are: default, concise, technical, creative"):
        Personas().get("pirate")
