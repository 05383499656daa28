"""Checks of channel rules that need the whole configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace

from engine.config import allowed_models, safety_checks
from engine.config.channel_rules import NO_RULE, ChannelRule, is_never_used
from engine.config.personas import BUILT_IN
from engine.config.settings import PermissionSettings, Settings
from engine.texts import texts
from providers import validation
from providers.invisible import is_blank
from providers.validation import ValidationError

LONGEST_ROLE = 64  # that of a message (`engine/commands/validation.py`)
NO_KEYS = ("admins", "trust_roles")  # of `[permissions]`: for all channels
PERMISSIONS = [each.name for each in fields(PermissionSettings) if each.name not in NO_KEYS]


def check(settings: Settings) -> None:
    """Raise ValidationError if a rule is wrong, or text could leave the providers of `stays`."""
    _check_permissions(
        "permissions", {key: getattr(settings.permissions, key) for key in PERMISSIONS}
    )
    safety_checks.check(settings)
    for index, admin in enumerate(settings.permissions.admins):
        if is_blank(admin):
            path = f"permissions.admins[{index}]"
            raise ValidationError(path, 'expected the id of a user, or a name, got ""')
    rules = settings.channels.rules
    for index, rule in enumerate(rules):
        path = f"channels.rules[{index}]"
        _check_match(path, rule, rules[:index])
        _check_texts(path, rule, settings)
        _check_permissions(f"{path}.permissions", rule.permissions)
        _check_stays(f"{path}.stays", path, settings, rule, rule.stays)
        if settings.channels.stays:
            _check_stays("channels.stays", path, settings, rule, settings.channels.stays)
    if settings.channels.stays:
        _check_stays("channels.stays", "", settings, NO_RULE, settings.channels.stays)


def with_given_providers(settings: Settings, names: Sequence[str]) -> Settings:
    """Return the settings for a program that gives its own providers, in their order.

    Raises ValidationError if a rule names another one, or what is said could leave `stays`.
    """
    first, *others = names
    settings = replace(settings, default_provider=first, fallback_providers=tuple(others))
    for path, name in provider_places(settings):
        if name not in names and ".stays" not in path and not path.endswith(".moderation"):
            problem = f'"{name}" is not one of the given providers: {", ".join(names)}'
            raise ValidationError(path, problem)
    check(settings)
    return settings


def provider_places(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each place of the configuration that names a provider, and the name."""
    yield "default_provider", settings.default_provider
    yield from _listed("fallback_providers", settings.fallback_providers)
    yield from _listed("channels.stays", settings.channels.stays)
    yield from _listed("models.allow", map(allowed_models.provider_of, settings.models.allow))
    for index, rule in enumerate(settings.channels.rules):
        path = f"channels.rules[{index}]"
        if rule.provider is not None:
            yield f"{path}.provider", rule.provider
        yield from _listed(f"{path}.fallback_providers", rule.fallback_providers or ())
        yield from _listed(f"{path}.stays", rule.stays or ())
    yield from safety_checks.moderators(settings)


def _listed(path: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    return ((f"{path}[{index}]", name) for index, name in enumerate(names))


def _check_match(path: str, rule: ChannelRule, earlier: Sequence[ChannelRule]) -> None:
    if not rule.match:
        raise ValidationError(f"{path}.match", 'expected a pattern such as "irc/*", got ""')
    for index, other in enumerate(earlier):
        if is_never_used(rule.match, other.match):
            raise ValidationError(
                f"{path}.match",
                f'"{rule.match}" is never used: channels.rules[{index}], "{other.match}", comes'
                " first and matches the same channels. Put the narrower pattern first",
            )


def _check_texts(path: str, rule: ChannelRule, settings: Settings) -> None:
    known = list(dict.fromkeys([*BUILT_IN, *settings.personas]))
    if rule.persona is not None and rule.persona.lower() not in {name.lower() for name in known}:
        hint = validation.suggestion(rule.persona, known) or f"; expected one of {', '.join(known)}"
        raise ValidationError(f"{path}.persona", f'unknown persona "{rule.persona}"{hint}')
    languages = texts.languages(settings.texts)
    if rule.texts is not None and rule.texts not in languages:
        add = f"; add [texts.{rule.texts}]" if texts.is_language(rule.texts) else ""
        hint = validation.suggestion(rule.texts, languages) or add
        raise ValidationError(f"{path}.texts", f'unknown language "{rule.texts}"{hint}')
    if rule.hint is not None and is_blank(rule.hint):
        raise ValidationError(f"{path}.hint", "expected a text; leave the key out for no hint")
    if rule.model is not None and is_blank(rule.model):
        raise ValidationError(f"{path}.model", "expected a model; leave the key out for no choice")
    if rule.parts and rule.max_reply_chars is None:
        raise ValidationError(f"{path}.parts", "needs max_reply_chars, the length of a part")


def _check_permissions(path: str, roles: Mapping[str, str]) -> None:
    for key, role in roles.items():
        if key not in PERMISSIONS:
            hint = (
                validation.suggestion(key, PERMISSIONS) or f"; there are {', '.join(PERMISSIONS)}"
            )
            raise ValidationError(f"{path}.{key}", f"unknown key{hint}")
        if is_blank(role):
            raise ValidationError(f"{path}.{key}", 'expected a role, or "*" for everybody, got ""')
        if len(role) > LONGEST_ROLE:
            problem = f"expected at most {LONGEST_ROLE} characters: no message has a longer role"
            raise ValidationError(f"{path}.{key}", problem)


def _check_stays(
    key: str, path: str, settings: Settings, rule: ChannelRule, stays: Sequence[str] | None
) -> None:
    if stays is None:
        return
    if not stays:
        raise ValidationError(key, "expected a provider; leave the key out for any of them")
    for place, name in _ways_out(path, settings, rule):
        if name not in stays:
            raise ValidationError(
                key,
                f'"{name}" is not in it, but {place} sends these channels there; '
                "name another one there, set provider in the rule, or add it here",
            )
    judge = settings.safety_of(rule).moderation
    if judge and judge not in stays:
        ruled = rule.safety is not None and rule.safety.moderation is not None
        place = f"{path}.safety.moderation" if ruled else "safety.moderation"
        raise ValidationError(
            key,
            f'"{judge}" is not in it, but {place} has it judge what is said in these channels; '
            'name another one there, set safety = { moderation = "" } in the rule, or add it here',
        )


def _ways_out(path: str, settings: Settings, rule: ChannelRule) -> Iterator[tuple[str, str]]:
    """Yield each place that names a provider for the channels of a rule, and the name."""
    if rule.provider is None:
        yield "default_provider", settings.default_provider
    else:
        yield f"{path}.provider", rule.provider
    if rule.fallback_providers is not None:
        yield from _listed(f"{path}.fallback_providers", rule.fallback_providers)
    elif rule.provider is None:
        yield from _listed("fallback_providers", settings.fallback_providers)
