"""The personas and hints of a configuration or a program: checked, and with the bot's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from engine.config import placeholders
from engine.config.channel_rules import ChannelRule
from engine.config.personas import BUILT_IN, Persona, built_in, named
from engine.config.settings import Settings
from providers import validation
from providers.validation import ValidationError


def check(settings: Settings) -> None:
    """Raise ValidationError if a persona's name is wrong, or the default one does not exist."""
    _check_names(settings.personas)
    _check_bot_name(settings.service.bot_name)
    known = [*BUILT_IN, *settings.personas]
    default = settings.service.default_persona
    if default.lower() not in {name.lower() for name in known}:
        hint = validation.suggestion(default, known) or f"; expected one of {', '.join(known)}"
        raise ValidationError("service.default_persona", f'unknown persona "{default}"{hint}')


def all_of(settings: Settings) -> dict[str, Persona]:
    """Return the built-in and the configured personas, with the bot's name where they want it."""
    bot_name = settings.service.bot_name.strip()
    return {**built_in(bot_name), **_named(settings.personas, bot_name)}


def rules_of(settings: Settings) -> tuple[ChannelRule, ...]:
    """Return the channel rules, with the bot's name where their hints want it."""
    bot_name = settings.service.bot_name.strip()
    return tuple(
        _hinted(index, rule, bot_name) for index, rule in enumerate(settings.channels.rules)
    )


def added(settings: Settings, more: Mapping[str, Persona | str]) -> Settings:
    """Return the settings with these personas, too; a text is a prompt. Raises ValidationError.

    One whose name is taken replaces the other.
    """
    personas = {name: _persona(name, given) for name, given in more.items()}
    _check_names(personas)
    taken = {name.lower() for name in personas}
    kept = {name: each for name, each in settings.personas.items() if name.lower() not in taken}
    bot_name = settings.service.bot_name.strip()
    return replace(settings, personas={**kept, **_named(personas, bot_name)})


def _persona(name: str, given: object) -> Persona:
    if isinstance(given, Persona):
        return given
    if not isinstance(given, str):
        problem = f"expected a prompt or a Persona, got {validation.shown(given)}"
        raise ValidationError(f"personas.{name}", problem)
    return Persona(prompt=given)


def _named(personas: Mapping[str, Persona], bot_name: str) -> dict[str, Persona]:
    for name, persona in personas.items():
        placeholders.check(persona.prompt, f"personas.{name}.prompt", bot_name)
    return {name: named(persona, bot_name) for name, persona in personas.items()}


def _hinted(index: int, rule: ChannelRule, bot_name: str) -> ChannelRule:
    if rule.hint is None:
        return rule
    placeholders.check(rule.hint, f"channels.rules[{index}].hint", bot_name)
    return replace(rule, hint=placeholders.with_bot_name(rule.hint, bot_name))


def _check_bot_name(bot_name: str) -> None:
    if "{" in bot_name or "}" in bot_name:  # in a prompt it would be taken for a placeholder
        problem = f"expected a name without braces, got {validation.shown(bot_name)}"
        raise ValidationError("service.bot_name", problem)


def _check_names(personas: Mapping[str, Persona]) -> None:
    seen: dict[str, str] = {}
    for name in personas:
        if (first := seen.setdefault(name.lower(), name)) != name:
            raise ValidationError(
                f"personas.{name}",
                f"the same as personas.{first}; names are matched without regard to case",
            )
        if not re.fullmatch(r"\S{1,40}", name):
            raise ValidationError(
                f"personas.{name}", "expected a name of one word, up to 40 characters"
            )
