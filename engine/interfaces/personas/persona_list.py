"""`rosey-llm persona list` and `show`: the personas of a configuration, as people see them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from engine.config.personas import BUILT_IN, Persona
from engine.config.settings import Settings
from engine.errors import UnknownPersona
from providers.validation import suggestion


@dataclass(frozen=True, slots=True)
class PersonaEntry:
    """A persona by its name. `built_in` says that the configuration did not change it."""

    name: str
    persona: Persona
    default: bool
    built_in: bool

    @property
    def marks(self) -> str:
        marks = [("default", self.default), ("built in", self.built_in)]
        return ", ".join(text for text, holds in marks if holds)

    @property
    def choices(self) -> dict[str, Any]:
        """The model and its settings, where the persona has its own."""
        values = asdict(self.persona)
        del values["prompt"]
        return {key: value for key, value in values.items() if value is not None}

    @property
    def record(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "default": self.default,
            "built_in": self.built_in,
            **asdict(self.persona),
        }


def entries(settings: Settings) -> list[PersonaEntry]:
    """All of them; a name is in lower case, as channels match it."""
    personas = {name.lower(): persona for name, persona in settings.personas.items()}
    default = settings.service.default_persona.lower()
    return [
        PersonaEntry(name, persona, name == default, persona == BUILT_IN.get(name))
        for name, persona in personas.items()
    ]


def entry(settings: Settings, name: str) -> PersonaEntry:
    """UnknownPersona names those that there are."""
    there = {each.name: each for each in entries(settings)}
    try:
        return there[name.lower()]
    except KeyError:
        names = list(there)
        hint = suggestion(name.lower(), names) or "."
        raise UnknownPersona(
            f'There is no persona "{name[:40]}"{hint} There are: {", ".join(names)}.'
        ) from None
