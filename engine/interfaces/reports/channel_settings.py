"""`rosey-llm channel show`: the settings of a channel, and where each of them comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

from engine.config import allowed_models
from engine.config.allowed_models import ChosenModel
from engine.config.channel_rules import NO_RULE, ChannelRule
from engine.config.personas import Persona, Personas
from engine.config.rule_checks import PERMISSIONS
from engine.config.safety_settings import SafetySettings
from engine.config.settings import Settings
from engine.interfaces.reports.output import Output, visible
from providers.base import Options
from storage.queries.asked_providers import AskedProviders

Source = Literal["channel", "persona", "rule", "provider", "default"]
OVERRIDABLE = ("persona", "model", "temperature", "max_tokens")
SOURCES: Mapping[Source, str] = {
    "channel": "chosen in the channel",
    "persona": "of the persona",
    "rule": "of the rule",
    "provider": "of the provider",
    "default": "of all channels",
}


class Setting(NamedTuple):
    """A value and where it comes from; "default" is what holds for all channels."""

    value: Any
    source: Source


@dataclass(frozen=True, slots=True)
class DescribedChannel:
    """What the next `!chat` of a channel uses.

    rule: None if no rule matches; number: its place in the file, from 0.
    settings: by key.
    asked: the providers that were given its prompts; None if there is no such channel yet.
    """

    channel: str
    rule: ChannelRule | None
    number: int | None
    persona_version: str
    settings: Mapping[str, Setting]
    asked: AskedProviders | None

    @property
    def record(self) -> dict[str, Any]:
        settings = {key: each._asdict() for key, each in self.settings.items()}
        return {
            "channel": self.channel,
            "rule": None
            if self.rule is None
            else {"match": self.rule.match, "number": self.number},
            "persona_version": self.persona_version,
            "hint_version": None if self.rule is None else self.rule.hint_version,
            "settings": settings,
            "overridable": list(OVERRIDABLE),
            "asked": None if self.asked is None else dict(self.asked.turns),
        }


def describe(
    settings: Settings,
    channel: str,
    chosen: str | None,
    asked: AskedProviders | None,
    model: ChosenModel | None = None,
) -> DescribedChannel:
    """Return the settings of a channel.

    chosen, model: the persona and the model that it was switched to. Raises ValidationError if its
    provider cannot be made.
    """
    rule = settings.channels.rule_of(channel)
    name, source = _persona(settings, rule, chosen)
    persona = Personas(settings.personas).get(name)[1]
    return DescribedChannel(
        channel,
        None if rule is NO_RULE else rule,
        None if rule is NO_RULE else settings.channels.rules.index(rule),
        persona.version,
        dict(_settings(settings, rule, Setting(name, source), persona, model)),
        asked,
    )


def _persona(settings: Settings, rule: ChannelRule, chosen: str | None) -> tuple[str, Source]:
    known = Personas(settings.personas)
    if chosen is not None and chosen in known:
        return known.get(chosen)[0], "channel"
    if rule.persona is not None:
        return known.get(rule.persona)[0], "rule"
    return known.get(settings.service.default_persona)[0], "default"


def _settings(
    settings: Settings,
    rule: ChannelRule,
    persona: Setting,
    text: Persona,
    model: ChosenModel | None,
) -> Iterator[tuple[str, Setting]]:
    def ruled(key: str, usual: Any) -> tuple[str, Setting]:
        value = getattr(rule, key)
        usual_value = Setting(usual, "default")
        return key, usual_value if value is None else Setting(value, "rule")

    allowed = allowed_models.of_rule(settings, rule)
    chosen = model if model is not None and model in allowed else None
    yield "persona", persona
    yield ruled("hint", None)
    yield ruled("texts", None)
    first, *others = settings.provider_names_of(rule)
    by_rule = rule.provider is not None or rule.fallback_providers is not None
    if chosen is None:
        yield ruled("provider", first)
        yield "fallback_providers", Setting(others, "rule" if by_rule else "default")
    else:
        first, *others = allowed_models.asked(rule, chosen.provider)
        yield "provider", Setting(first, "channel")
        yield "fallback_providers", Setting(others, "rule" if others else "channel")
    yield ruled("stays", settings.channels.stays or None)
    asked = settings.new_provider(first).settled(Options())
    for key in ("model", "temperature", "max_tokens"):
        by_source: dict[Source, Any] = {
            "channel": chosen.model if chosen is not None and key == "model" else None,
            "persona": getattr(text, key),
            "rule": getattr(rule, key),
            "provider": getattr(asked, key),
        }
        named = (Setting(value, source) for source, value in by_source.items() if value is not None)
        yield key, next(named, Setting(None, "provider"))
    yield "models", Setting(allowed.patterns, "default")
    if model is not None and chosen is None:
        yield "not allowed any more", Setting(str(model), "channel")
    yield ruled("max_context_messages", settings.service.max_context_messages)
    yield ruled("stream", settings.conversation.stream)
    yield ruled("status", False)
    yield ruled("max_reply_chars", None)
    yield "parts", Setting(rule.parts, "rule" if rule.parts else "default")
    yield ruled("mailbox_limit_per_user", settings.channels.mailbox_limit_per_user)
    safety = settings.safety_of(rule)
    for each in fields(SafetySettings):
        ruled_here = rule.safety is not None and getattr(rule.safety, each.name) is not None
        value = getattr(safety, each.name)
        yield f"safety {each.name}", Setting(value, "rule" if ruled_here else "default")
    for key in PERMISSIONS:
        role = rule.permissions.get(key)
        usual = getattr(settings.permissions, key)
        yield f"may {key}", Setting(usual, "default") if role is None else Setting(role, "rule")


def print_settings(out: Output, found: DescribedChannel) -> None:
    """Print the settings, one on a line."""
    _line(out, "channel", visible(found.channel))
    if found.rule is None:
        _line(out, "rule", "none matches")
    else:
        _line(out, "rule", f"{visible(found.rule.match)}, channels.rules[{found.number}]")
    for key, setting in found.settings.items():
        text = _shown(setting.value)
        if key == "persona":
            text = f"{text}, version {found.persona_version}"
        _line(out, key, f"{text} ({SOURCES[setting.source]})")
    if found.asked is not None:
        turns = [f"{visible(name)} in {n:,}" for name, n in found.asked.turns.items()]
        _line(out, "asked so far", f"{', '.join(turns)} turns" if turns else "no provider")
    _line(out, "", f"A request may have its own {', '.join(OVERRIDABLE)}.")


def _line(out: Output, name: str, text: str) -> None:
    head = f"{name + ':' if name else '':<23} "
    out.line((head, "bold"), text)


def _shown(value: Any) -> str:
    if value is None or value in ((), [], ""):
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return visible(", ".join(value) if isinstance(value, list | tuple) else str(value))
