"""What works in a configuration, but should be known: said by `check`, a start and a reload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from fnmatch import fnmatchcase
from itertools import combinations

from engine.config import budget_checks, old_defaults
from engine.config.channel_rules import is_never_used
from engine.config.rule_checks import PERMISSIONS
from engine.config.settings import PermissionSettings, Settings

FOR_ALL, ADMIN = "*", "admin"
USER_LIMITS = ("user_per_minute", "user_per_hour", "user_per_day")
DEFAULTS = {each.name: each.default for each in fields(PermissionSettings)}


def notes(settings: Settings) -> list[str]:
    """Return a line for people about each of these."""
    return [
        *old_defaults.notes(settings),
        *_unreachable_roles(settings),
        *_unheard(settings),
        *_idle_limits(settings),
        *_hidden_prices(settings),
        *budget_checks.notes(settings),
    ]


def _unreachable_roles(settings: Settings) -> Iterator[str]:
    """Name the roles that nobody can have."""
    permissions = settings.permissions
    who = "only admins" if permissions.admins else "nobody"
    for path, roles in _roles(settings):
        for key, role in roles.items():
            if role == ADMIN:
                # The default of some keys; only what somebody wrote is surprising.
                is_written = path != "permissions" or DEFAULTS[key] != ADMIN
                if is_written and not (permissions.admins or permissions.trust_roles):
                    yield (
                        f'{path}.{key} is "admin", but [permissions] admins is empty: nobody may do'
                        " it. Name the ids of users there"
                    )
            elif role != FOR_ALL and not permissions.trust_roles:
                yield (
                    f'{path}.{key} is "{role}", but [permissions] trust_roles is false: {who} may'
                    " do it. Set trust_roles = true if your bots send the platform's roles"
                )


def _unheard(settings: Settings) -> Iterator[str]:
    """Name those that other settings let in, but `[access]` keeps out."""
    access = settings.access
    for path, names in (
        ("permissions.admins", settings.permissions.admins),
        ("access.users_allow", access.users_allow),
    ):
        for index, name in enumerate(names):
            if _matches(name, access.users_deny):
                yield f'{path}[{index}], "{name}", is not heard: [access] users_deny names it, too'
            elif access.users_allow and not _matches(name, access.users_allow):
                yield (
                    f'{path}[{index}], "{name}", is not heard: [access] users_allow does not name'
                    " it. Add it there"
                )
    for index, rule in enumerate(settings.channels.rules):
        if access.channels_allow and not _may_meet(rule.match, access.channels_allow):
            yield (
                f'channels.rules[{index}], "{rule.match}", is never used: no such channel is heard.'
                " Add it to [access] channels_allow"
            )


def _idle_limits(settings: Settings) -> Iterator[str]:
    """Name the limits that are never reached, because another one is reached first."""
    limits = settings.limits
    known = [(name, getattr(limits, name)) for name in USER_LIMITS if getattr(limits, name)]
    for (short, number), (longer, least) in combinations(known, 2):
        if number >= least:
            yield f"limits.{short} is {number}, but is never reached: {longer} is {least}"
    minute, room = limits.user_per_minute, limits.channel_per_minute
    if minute and room and minute >= room:
        yield (
            f"limits.user_per_minute is {minute} and channel_per_minute {room}: one user can use up"
            " what the whole channel may ask"
        )


def _hidden_prices(settings: Settings) -> Iterator[str]:
    """Name the prices that are never asked for, because an earlier pattern matches all of them."""
    patterns = list(settings.prices)
    for index, pattern in enumerate(patterns):
        for earlier in patterns[:index]:
            if is_never_used(pattern, earlier):
                yield (
                    f'prices."{pattern}" is never used: "{earlier}" comes first and matches the'
                    " same models. Put the narrower pattern first"
                )
                break


def _matches(name: str, globs: Sequence[str]) -> bool:
    """Return whether a pattern of `[access]` matches, in any case; "[" is a character there."""
    return any(fnmatchcase(name.casefold(), glob.casefold().replace("[", "[[]")) for glob in globs)


def _may_meet(match: str, globs: Sequence[str]) -> bool:
    """Return whether a channel may match both a rule and one of these patterns."""
    ours = _literal(match)
    return any(_literal(glob).startswith(ours) or ours.startswith(_literal(glob)) for glob in globs)


def _literal(glob: str) -> str:
    """Return what a pattern begins with, before its first wildcard."""
    return glob.casefold().partition("*")[0].partition("?")[0]


def _roles(settings: Settings) -> Iterator[tuple[str, Mapping[str, str]]]:
    yield "permissions", {key: getattr(settings.permissions, key) for key in PERMISSIONS}
    for index, rule in enumerate(settings.channels.rules):
        yield f"channels.rules[{index}].permissions", rule.permissions
