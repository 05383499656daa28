"""Tests of permissions: which role a command needs, and who has it."""

from __future__ import annotations

import contextlib
from dataclasses import fields

import pytest

from engine.admission.permissions import KEYS, RolePermissions
from engine.commands.records import Chat, Command, Help, Reset, SetPersona, ShowPersonas
from engine.commands.request import Request
from engine.config.settings import PermissionSettings
from engine.errors import NotAllowed


def request(
    command: Command,
    username: str = "alice",
    user_id: str | None = None,
    roles: tuple[str, ...] = (),
) -> Request:
    return Request("#a", "r", username, command, user_id=user_id, roles=roles)


def refusal(settings: PermissionSettings, asked: Request) -> str:
    with contextlib.suppress(NotAllowed):
        RolePermissions(settings).check(asked)
        return ""
    with pytest.raises(NotAllowed) as caught:
        RolePermissions(settings).check(asked)
    assert not caught.value.is_private
    return str(caught.value)


def test_by_default_everybody_may_do_what_everybody_could() -> None:
    for command in (Chat("Hi"), Reset(), SetPersona("x"), ShowPersonas(), Help()):
        assert refusal(PermissionSettings(), request(command)) == ""


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
    assert said == ("" if may else 'Only somebody with the role "mod" may reset this conversation.')


@pytest.mark.parametrize(
    ("name", "user_id", "may"),
    [("Boss", None, True), ("boss", "U1", False), ("x", "BOSS", True), ("bos", None, False)],
)
def test_an_admin_is_known_by_id_or_where_there_is_none_by_name(
    name: str, user_id: str | None, may: bool
) -> None:
    settings = PermissionSettings(admins=("boss",), persona="admin")
    said = refusal(settings, request(SetPersona("x"), name, user_id))
    assert said == ("" if may else "Only an admin may switch the persona here.")


def test_each_key_that_a_command_needs_is_a_setting() -> None:
    assert {key for key, _ in KEYS.values()} <= {each.name for each in fields(PermissionSettings)}
