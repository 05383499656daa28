"""What works in a configuration, but should be known: said by `check`, a start and a reload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engine.config import budget_checks, old_defaults
from engine.config.rule_checks import PERMISSIONS
from engine.config.settings import Settings

FOR_ALL, ADMIN = "*", "admin"


def notes(settings: Settings) -> list[str]:
    """Return a line for people about each of these."""
    return [
        *old_defaults.notes(settings),
        *_unreachable_roles(settings),
        *budget_checks.notes(settings),
    ]


def _unreachable_roles(settings: Settings) -> Iterator[str]:
    """Name the roles that nobody can have, because those of messages do not count."""
    permissions = settings.permissions
    if permissions.trust_roles:
        return
    who = "only admins" if permissions.admins else "nobody"
    for path, roles in _roles(settings):
        for key, role in roles.items():
            if role not in (FOR_ALL, ADMIN):
                yield (
                    f'{path}.{key} is "{role}", but [permissions] trust_roles is false: {who} may'
                    " do it. Set trust_roles = true if your bots send the platform's roles"
                )


def _roles(settings: Settings) -> Iterator[tuple[str, Mapping[str, str]]]:
    yield "permissions", {key: getattr(settings.permissions, key) for key in PERMISSIONS}
    for index, rule in enumerate(settings.channels.rules):
        yield f"channels.rules[{index}].permissions", rule.permissions
