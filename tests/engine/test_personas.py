from __future__ import annotations

import pytest

from engine.config.personas import BUILT_IN, Persona, Personas
from engine.errors import UnknownPersona


def test_the_four_personas_are_there_with_prompts_of_their_own() -> None:
    assert list(BUILT_IN) == ["default", "concise", "technical", "creative"]
    assert len({persona.prompt for persona in BUILT_IN.values()}) == 4


def test_names_are_matched_without_regard_to_case() -> None:
    personas = Personas({**BUILT_IN, "Pirate": Persona(prompt="Arr")})
    assert personas.get("PIRATE") == ("pirate", Persona(prompt="Arr"))
    assert "Concise" in personas


def test_an_unknown_persona_names_those_there_are() -> None:
    with pytest.raises(UnknownPersona, match="There are: default, concise, technical, creative"):
        Personas().get("pirate")
