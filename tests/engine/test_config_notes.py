"""What a configuration says that works, but that its author may not expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config import config_notes
from engine.config.loading import parse
from engine.operations import check

RULE = {"match": "irc/*", "permissions": {"reset": "mod"}}


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
        {"permissions": {"reset": "admin", "persona": "*"}},
        {"permissions": {"reset": "mod", "trust_roles": True}, "channels": {"rules": [RULE]}},
    ],
)
def test_nothing_is_said_of_what_can_be_had(tables: dict[str, Any]) -> None:
    assert config_notes.notes(parse(tables, Path.cwd())) == []


@pytest.mark.process
async def test_check_says_it(tmp_path: Path) -> None:
    tables = {"permissions": {"reset": "mod"}, "nats": {"port": 0}, "default_provider": "scripted"}
    settings = parse({**tables, "fallback_providers": []}, tmp_path)
    assert any(
        'permissions.reset is "mod"' in note for note in (await check.report(settings)).notes
    )
