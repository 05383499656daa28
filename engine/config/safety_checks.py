"""Checks of `[safety]`, for all channels and in rules: patterns, mentions, who judges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.config.safety_settings import RuleSafety, SafetySettings
from engine.config.settings import Settings
from providers import registry, validation
from providers.base import LLMProvider
from providers.validation import ValidationError

LONGEST_MENTION = 64  # characters; so much of a growing answer may be held back


def check(settings: Settings) -> None:
    """Raise ValidationError if a pattern, a mention or a provider cannot be used."""
    for path, safety in _places(settings):
        _check_patterns(f"{path}.deny", safety.deny or ())
        _check_mentions(f"{path}.neutralise", safety.neutralise or ())
        if safety.moderation_model is not None and not safety.moderation_model.strip():
            raise ValidationError(f"{path}.moderation_model", "expected a model, got nothing")
    for path, name in moderators(settings):
        kind = str(settings.provider_table(name).get("kind", name))
        if registry.find(kind).moderate is LLMProvider.moderate:
            raise ValidationError(
                path,
                f'"{name}" has no moderation; name a provider of the kind "openai", whose server'
                ' has the path /moderations, or ""',
            )


def moderators(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each place of the configuration that names who judges, and the name."""
    for path, safety in _places(settings):
        if safety.moderation:
            yield f"{path}.moderation", safety.moderation


def _places(settings: Settings) -> Iterator[tuple[str, SafetySettings | RuleSafety]]:
    yield "safety", settings.safety
    for index, rule in enumerate(settings.channels.rules):
        if rule.safety is not None:
            yield f"channels.rules[{index}].safety", rule.safety


def _check_patterns(path: str, patterns: Sequence[str]) -> None:
    if not patterns:
        return
    import regex  # a start without patterns does not load it

    for index, pattern in enumerate(patterns):
        try:
            found = regex.compile(pattern).search("")
        except regex.error as exc:
            raise ValidationError(
                f"{path}[{index}]",
                f"expected a regular expression, got {validation.shown(pattern)}: {exc}",
            ) from exc
        if found is not None:
            raise ValidationError(
                f"{path}[{index}]",
                f"{validation.shown(pattern)} matches every message, even an empty one",
            )


def _check_mentions(path: str, mentions: Sequence[str]) -> None:
    for index, mention in enumerate(mentions):
        if not mention.startswith("@") or len(mention) > LONGEST_MENTION:
            raise ValidationError(
                f"{path}[{index}]",
                f'expected a mention such as "@everyone", of at most {LONGEST_MENTION} characters,'
                f" got {validation.shown(mention)}",
            )
