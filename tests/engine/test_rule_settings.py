"""What may stand in `[[channels.rules]]`, and what a reload says about a change of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config import changes, loading
from engine.config.channel_rules import NO_RULE
from engine.config.settings import Settings
from providers.validation import ValidationError


def parsed(*rules: dict[str, Any], **more: Any) -> Settings:
    return loading.parse({"channels": {"rules": list(rules), **more}}, Path.cwd())


def problem(*rules: dict[str, Any], **more: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        parsed(*rules, **more)
    return str(caught.value)


def test_the_settings_give_the_rule_of_a_channel() -> None:
    settings = parsed({"match": "irc/*", "mailbox_limit_per_user": 3}, {"match": "*"})
    assert settings.channels.rule_of("irc/#lobby").mailbox_limit_per_user == 3
    assert settings.channels.rule_of("#lobby").match == "*"
    assert parsed().channels.rule_of("#lobby") is NO_RULE


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({}, "channels.rules[0].match: missing"),
        ({"match": ""}, 'channels.rules[0].match: expected a pattern such as "irc/*", got ""'),
        ({"match": 3}, "channels.rules[0].match: expected a string, got 3"),
        (
            {"match": "*", "personna": "x"},
            'channels.rules[0].personna: unknown key; did you mean "persona"?',
        ),
        (
            {"match": "*", "mailbox_limit_per_user": 0},
            "channels.rules[0].mailbox_limit_per_user: expected 1 or more, got 0",
        ),
    ],
)
def test_a_wrong_rule_is_an_error_that_says_where(rule: dict[str, Any], error: str) -> None:
    assert problem(rule) == error


@pytest.mark.parametrize("match", ["irc/#lobby", "irc/*", "irc/a?", "irc/a*b"])
def test_a_rule_that_another_one_hides_is_an_error(match: str) -> None:
    assert problem({"match": "irc/*"}, {"match": match}) == (
        f'channels.rules[1].match: "{match}" is never used: channels.rules[0], "irc/*", comes '
        "first and matches the same channels. Put the narrower pattern first"
    )


def test_a_reload_tells_what_became_of_each_rule() -> None:
    before = parsed({"match": "a"}, {"match": "b"}, {"match": "c"}, {"match": "d"})
    after = parsed(
        {"match": "c"}, {"match": "a", "mailbox_limit_per_user": 3}, {"match": "e"}, {"match": "d"}
    )
    found = changes.diff(before, after, [], [])
    assert found.rules == {"e": "added", "a": "changed and moved", "b": "removed"}
    assert "channel rules: e added, a changed and moved, b removed" in found.lines
    assert not found.settings
    assert changes.applied(before, after).channels.rules == after.channels.rules
