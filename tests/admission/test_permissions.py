"""Tests of permissions: which role a command needs, and who has it."""

from __future__ import annotations

import contextlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from engine.admission.permissions import KEYS, RolePermissions
from engine.commands.records import (
    Chat,
    Command,
    Help,
    Reset,
    SetModel,
    SetPersona,
    ShowModel,
    ShowPersonas,
)
from engine.commands.request import Request
from engine.config.channel_rules import ChannelRule
from engine.config.loading import parse
from engine.config.settings import ChannelSettings, PermissionSettings
from engine.errors import NotAllowed
from providers.validation import ValidationError

CHANNELS = ChannelSettings()


def request(
    command: Command,
    username: str = "alice",
    user_id: str | None = None,
    roles: tuple[str, ...] = (),
) -> Request:
    return Request("#a", "r", username, command, user_id=user_id, roles=roles)


def refusal(
    settings: PermissionSettings, asked: Request, channels: ChannelSettings = CHANNELS
) -> str:
    with contextlib.suppress(NotAllowed):
        RolePermissions(settings, channels).check(asked)
        return ""
    with pytest.raises(NotAllowed) as caught:
        RolePermissions(settings, channels).check(asked)
    assert not caught.value.is_private
    return str(caught.value)


def test_by_default_everybody_may_do_what_everybody_could() -> None:
    for command in (Chat("Hi"), Reset(), SetPersona("x"), ShowPersonas(), ShowModel(), Help()):
        assert refusal(PermissionSettings(), request(command)) == ""


def test_by_default_only_an_admin_switches_the_model() -> None:
    settings = PermissionSettings(admins=("boss",), trust_roles=True)
    said = "Only admins may switch the model here."
    for name in ("openai/x", "default"):
        assert refusal(settings, request(SetModel(name), roles=("mod",))) == said
        assert refusal(settings, request(SetModel(name), "Boss")) == ""
        assert refusal(settings, request(SetModel(name), roles=("admin",))) == ""


@pytest.mark.parametrize(
    ("roles", "trusted", "may"),
    [
        (("mod",), True, True),
        (("admin",), True, True),
        (("mod",), False, False),
        (("Mod",), True, False),
        (("vip", "*"), True, False),
        ((), True, False),
    ],
)
def test_a_role_counts_if_roles_are_trusted(
    roles: tuple[str, ...], trusted: bool, may: bool
) -> None:
    settings = PermissionSettings(trust_roles=trusted, reset="mod")
    said = refusal(settings, request(Reset(), roles=roles))
    assert said == ("" if may else 'Only people with the role "mod" may reset this conversation.')


@pytest.mark.parametrize(
    ("name", "user_id", "may"),
    [("Boss", None, True), ("boss", "U1", False), ("x", "BOSS", True), ("bos", None, False)],
)
def test_an_admin_is_known_by_id_or_where_there_is_none_by_name(
    name: str, user_id: str | None, may: bool
) -> None:
    settings = PermissionSettings(admins=("boss",), persona="admin")
    said = refusal(settings, request(SetPersona("x"), name, user_id))
    assert said == ("" if may else "Only admins may switch the persona here.")


def test_a_rule_says_other_roles_for_its_channels() -> None:
    settings = PermissionSettings(trust_roles=True, reset="mod", persona="mod")
    rule = ChannelRule(match="#a", permissions={"reset": "*", "persona": "admin"})
    channels = ChannelSettings(rules=(rule,))
    assert refusal(settings, request(Reset()), channels) == ""
    said = refusal(settings, request(SetPersona("x"), roles=("mod",)), channels)
    assert said == "Only admins may switch the persona here."
    elsewhere = request(Reset())._replace(channel_id="#b")
    assert "mod" in refusal(settings, elsewhere, channels)


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        (
            {"channels": {"rules": [{"match": "*", "permissions": {"rest": "mod"}}]}},
            'channels.rules[0].permissions.rest: unknown key; did you mean "reset"?',
        ),
        (
            {"channels": {"rules": [{"match": "*", "permissions": {"admins": "x"}}]}},
            "channels.rules[0].permissions.admins: unknown key",
        ),
        (
            {"channels": {"rules": [{"match": "*", "permissions": {"reset": " "}}]}},
            'channels.rules[0].permissions.reset: expected a role, or "*" for everybody',
        ),
        (
            {"permissions": {"reset": "x" * 65}},
            "permissions.reset: expected at most 64 characters: no message has a longer role",
        ),
        (
            {"permissions": {"admins": ["1", " "]}},
            'permissions.admins[1]: expected the id of a user, or a name, got ""',
        ),
        (
            {"permissions": {"reset": ""}},
            'permissions.reset: expected a role, or "*" for everybody',
        ),
    ],
)
def test_what_is_no_permission_is_an_error(tables: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parse(tables, Path.cwd())
    assert problem in str(caught.value)


def test_each_key_that_a_command_needs_is_a_setting() -> None:
    assert {key for key, _ in KEYS.values()} <= {each.name for each in fields(PermissionSettings)}
