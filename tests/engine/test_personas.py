from __future__ import annotations

import pytest

from engine.config.personas import BUILT_IN, Persona, Personas
from engine.errors import UnknownPersona


def test_the_four_built_in_personas_have_different_prompts() -> None:
    assert list(BUILT_IN) == ["default", "concise", "technical", "creative"]
    assert len({persona.prompt for persona in BUILT_IN.values()}) == 4


def test_names_are_matched_without_regard_to_case() -> None:
    personas = Personas({**BUILT_IN, "Pirate": Persona(prompt="Arr")})
    assert personas.get("PIRATE") == ("pirate", Persona(prompt="Arr"))
    assert "Concise" in personas


def test_the_error_for_an_unknown_persona_lists_the_known_ones() -> None:
    with pytest.raises(UnknownPersona, match="There are: default, concise, technical, creative"):
        Personas().get("pirate")
