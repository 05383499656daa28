"""What a configuration says that works, but that its author may not expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config import config_notes
from engine.config.loading import parse
from engine.operations import check

RULE_FOR_ALL = {"match": "irc/#*", "persona": "concise"}
PRICE = {"input": 1, "output": 2}
RULE = {"match": "irc/*", "permissions": {"reset": "mod"}}
FAR_RULE = {"match": "discord/*", "persona": "concise"}


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"permissions": {"reset": "mod"}}, 'permissions.reset is "mod"'),
        ({"channels": {"rules": [RULE]}}, 'channels.rules[0].permissions.reset is "mod"'),
    ],
)
def test_a_role_that_nobody_can_have_is_named(tables: dict[str, Any], said: str) -> None:
    (note,) = config_notes.notes(parse(tables, Path.cwd()))
    assert note.startswith(f"{said}, but [permissions] trust_roles is false: nobody may do it.")


def test_admins_may_do_what_a_role_may() -> None:
    tables = {"permissions": {"reset": "mod", "admins": ["1"]}}
    (note,) = config_notes.notes(parse(tables, Path.cwd()))
    assert "only admins may do it." in note


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"permissions": {"reset": "admin", "persona": "*", "admins": ["1"]}},
        {"permissions": {"reset": "admin", "trust_roles": True}},
        {"permissions": {"stop_all": "admin"}},
        {"access": {"users_deny": ["x*"]}, "permissions": {"admins": ["1"]}},
        {"access": {"users_allow": ["U*"]}, "permissions": {"admins": ["u1"]}},
        {"access": {"channels_allow": ["IRC/*"]}, "channels": {"rules": [RULE_FOR_ALL]}},
        {"limits": {"user_per_minute": 10, "user_per_hour": 100, "channel_per_minute": 60}},
        {"prices": {"gpt-4o-mini*": PRICE, "gpt-4o*": PRICE, "*": PRICE}},
        {"permissions": {"reset": "mod", "trust_roles": True}, "channels": {"rules": [RULE]}},
    ],
)
def test_nothing_is_said_of_what_can_be_had(tables: dict[str, Any]) -> None:
    assert config_notes.notes(parse(tables, Path.cwd())) == []


ADMIN_RULE = {"match": "irc/*", "permissions": {"stop_all": "admin"}}


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (
            {"permissions": {"reset": "admin"}},
            'permissions.reset is "admin", but [permissions] admins is empty: nobody may do it.'
            " Name the ids of users there",
        ),
        (
            {"channels": {"rules": [ADMIN_RULE]}},
            'channels.rules[0].permissions.stop_all is "admin", but [permissions] admins is empty',
        ),
        (
            {"permissions": {"admins": ["a", "Bob"]}, "access": {"users_deny": ["b?b"]}},
            'permissions.admins[1], "Bob", is not heard: [access] users_deny names it, too',
        ),
        (
            {"permissions": {"admins": ["[x]"]}, "access": {"users_allow": ["x"]}},
            'permissions.admins[0], "[x]", is not heard: [access] users_allow does not name it.',
        ),
        (
            {"access": {"users_allow": ["mallory"], "users_deny": ["mal*"]}},
            'access.users_allow[0], "mallory", is not heard',
        ),
        (
            {"access": {"channels_allow": ["irc/*"]}, "channels": {"rules": [FAR_RULE]}},
            'channels.rules[0], "discord/*", is never used: no such channel is heard.',
        ),
        (
            {"limits": {"user_per_minute": 100, "user_per_day": 50}},
            "limits.user_per_minute is 100, but is never reached: user_per_day is 50",
        ),
        (
            {"limits": {"user_per_minute": 10, "channel_per_minute": 10}},
            "limits.user_per_minute is 10 and channel_per_minute 10: one user can use up",
        ),
        (
            {"prices": {"x": PRICE, "gpt*": PRICE, "gpt-4o": PRICE}},
            'prices."gpt-4o" is never used: "gpt*" comes first and matches the same models.',
        ),
    ],
)
def test_what_cannot_work_is_named_with_what_to_do(tables: dict[str, Any], said: str) -> None:
    (note,) = config_notes.notes(parse(tables, Path.cwd()))
    assert note.startswith(said)


@pytest.mark.process
async def test_check_says_it(tmp_path: Path) -> None:
    tables = {"permissions": {"reset": "mod"}, "nats": {"port": 0}, "default_provider": "scripted"}
    settings = parse({**tables, "fallback_providers": []}, tmp_path)
    assert any(
        'permissions.reset is "mod"' in note for note in (await check.report(settings)).notes
    )
