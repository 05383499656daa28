"""The list of a configuration's personas, for `rosey-llm persona list` and `show`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from engine.config.personas import Persona, built_in
from engine.config.settings import Settings
from providers.validation import suggestion


@dataclass(frozen=True, slots=True)
class PersonaEntry:
    """A persona with its name.

    - `default`: channels start with it
    - `built_in`: the configuration did not change it
    """

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
        """The persona's own model, temperature and token limit, as far as it sets them."""
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
    """Return all personas. Names are in lower case, as channels match them."""
    personas = {name.lower(): persona for name, persona in settings.personas.items()}
    default = settings.service.default_persona.lower()
    unchanged = built_in(settings.service.bot_name.strip())
    return [
        PersonaEntry(name, persona, name == default, persona == unchanged.get(name))
        for name, persona in personas.items()
    ]


def entry(settings: Settings, name: str) -> PersonaEntry:
    """Return the persona of this name. Raises LookupError with all names."""
    known = {each.name: each for each in entries(settings)}
    try:
        return known[name.lower()]
    except KeyError:
        names = list(known)
        hint = suggestion(name.lower(), names) or "."
        raise LookupError(
            f'There is no persona "{name[:40]}"{hint} There are: {", ".join(names)}.'
        ) from None
