"""Personas: named system prompts, each with an optional model and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from engine.config import placeholders
from engine.errors import UnknownPersona
from engine.texts import sentences
from providers.validation import Count, Temperature
from storage import persona_versions


@dataclass(frozen=True, kw_only=True)
class Persona:
    """A `[personas.<name>]` table. None leaves the choice to channel rule and provider.

    prompt: may have the placeholders {bot_name}, {channel} and {platform}; the first one is
        replaced when the configuration is read.
    """

    prompt: str
    model: str | None = None
    temperature: Temperature | None = None
    max_tokens: Count | None = None

    @cached_property
    def version(self) -> str:
        """The digest by which the history refers to the prompt, with its placeholders."""
        return persona_versions.version(self.prompt)


INTRODUCTION = "Your name is {bot_name}. "
_PROMPTS = {
    "default": (
        "You are a friendly member of a chat room. Answer in a warm, conversational tone, "
        "in plain text and in the language you are spoken to. Keep it to a few sentences "
        "unless somebody asks for more, and say so when you do not know something."
    ),
    "concise": (
        "You answer as briefly as possible: one or two short sentences of plain text, "
        "the answer first, without greetings, filler or repetition of the question."
    ),
    "technical": (
        "You are an experienced engineer. Answer in detail and with precision: use the exact "
        "terms, give the reasons, name units, versions and limits, show short examples where "
        "they help, and say clearly what is certain and what is an assumption."
    ),
    "creative": (
        "You are an imaginative storyteller. Answer vividly, with images, wit and unexpected "
        "comparisons, but stay true to what was asked and never invent facts where facts "
        "are wanted."
    ),
}


def named(persona: Persona, bot_name: str) -> Persona:
    """Return the persona with the bot's name in place of each "{bot_name}" of its prompt."""
    prompt = placeholders.with_bot_name(persona.prompt, bot_name)
    return persona if prompt == persona.prompt else replace(persona, prompt=prompt)


def built_in(bot_name: str) -> dict[str, Persona]:
    """Return the built-in personas of a bot; without a name, they do not introduce it."""
    introduction = INTRODUCTION if bot_name else ""
    return {
        name: named(Persona(prompt=introduction + prompt), bot_name)
        for name, prompt in _PROMPTS.items()
    }


BUILT_IN: Mapping[str, Persona] = built_in("Rosey")


class Personas:
    """All personas by name. Case does not matter."""

    def __init__(self, personas: Mapping[str, Persona] = BUILT_IN, default: str = "default"):
        self._personas = {name.lower(): persona for name, persona in personas.items()}
        self.default = default.lower()

    @property
    def names(self) -> list[str]:
        return list(self._personas)

    @property
    def prompts(self) -> list[tuple[str, str]]:
        """Each persona's name and prompt."""
        return [(name, persona.prompt) for name, persona in self._personas.items()]

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._personas

    def get(self, name: str) -> tuple[str, Persona]:
        """Return the name in lower case and the persona. Raises UnknownPersona."""
        try:
            return name.lower(), self._personas[name.lower()]
        except KeyError:
            raise UnknownPersona(
                sentences.UNKNOWN_PERSONA(name=name[:40], names=", ".join(self.names))
            ) from None
