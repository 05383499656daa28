"""What may stand in `[[channels.rules]]`, and what a reload says about a change of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import LLMService
from engine.config import changes, loading
from engine.config.channel_rules import NO_RULE
from engine.config.settings import Settings
from providers import OllamaProvider, ScriptedProvider
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
        (
            {"match": "*", "persona": "consise"},
            'channels.rules[0].persona: unknown persona "consise"; did you mean "concise"?',
        ),
        (
            {"match": "*", "hint": " "},
            "channels.rules[0].hint: expected a text; leave the key out for no hint",
        ),
        (
            {"match": "*", "model": ""},
            "channels.rules[0].model: expected a model; leave the key out for no choice",
        ),
        (
            {"match": "*", "parts": True},
            "channels.rules[0].parts: needs max_reply_chars, the length of a part",
        ),
        (
            {"match": "*", "provider": "olama"},
            'channels.rules[0].provider: unknown provider "olama"; did you mean "ollama"?',
        ),
        (
            {"match": "*", "fallback_providers": ["local", "x"]},
            'channels.rules[0].fallback_providers[1]: unknown provider "x"; expected one of local, '
            "ollama, openai, openrouter, scripted",
        ),
        (
            {"match": "*", "fallback_providers": "local"},
            'channels.rules[0].fallback_providers: expected a list, got "local"',
        ),
        (
            {"match": "*", "stays": ["olama"]},
            'channels.rules[0].stays[0]: unknown provider "olama"; did you mean "ollama"?',
        ),
        (
            {"match": "*", "stays": []},
            "channels.rules[0].stays: expected a provider; leave the key out for any of them",
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


def not_in_it(key: str, name: str, place: str) -> str:
    return (
        f'{key}: "{name}" is not in it, but {place} sends these channels there; '
        "name another one there, set provider in the rule, or add it here"
    )


@pytest.mark.parametrize(
    ("rule", "name", "place"),
    [
        ({"stays": ["openai"]}, "ollama", "default_provider"),
        ({"stays": ["ollama"]}, "local", "fallback_providers[0]"),
        ({"stays": ["ollama"], "provider": "openai"}, "openai", "channels.rules[0].provider"),
        (
            {"stays": ["ollama"], "provider": "ollama", "fallback_providers": ["openai"]},
            "openai",
            "channels.rules[0].fallback_providers[0]",
        ),
    ],
)
def test_no_way_out_of_what_stays_in_a_rule(rule: dict[str, Any], name: str, place: str) -> None:
    assert problem({"match": "a", **rule}) == not_in_it("channels.rules[0].stays", name, place)


def test_no_way_out_of_what_stays_in_all_channels() -> None:
    stays = {"stays": ["ollama", "local"]}
    assert problem({"match": "a", "provider": "openai"}, **stays) == not_in_it(
        "channels.stays", "openai", "channels.rules[0].provider"
    )
    assert problem(stays=["ollama"]) == not_in_it(
        "channels.stays", "local", "fallback_providers[0]"
    )
    # The rule of one channel is no way out for the others.
    rule = {"match": "a", "provider": "local", "stays": ["local"]}
    assert problem(rule, stays=["local"]) == not_in_it(
        "channels.stays", "ollama", "default_provider"
    )


@pytest.mark.parametrize(
    "rule",
    [
        {"stays": ["ollama", "local"]},
        {"stays": ["ollama"], "provider": "ollama"},
        {"stays": ["ollama"], "fallback_providers": []},
        {"stays": ["local", "ollama"], "provider": "local", "fallback_providers": ["ollama"]},
    ],
)
def test_what_stays_and_has_no_way_out_is_accepted(rule: dict[str, Any]) -> None:
    assert parsed({"match": "a", **rule}, stays=["ollama", "local"])


def test_a_program_that_gives_its_providers_is_held_to_them() -> None:
    elsewhere = parsed({"match": "a", "provider": "openai"})
    with pytest.raises(ValueError, match='"openai" is not one of the given providers: scripted'):
        LLMService(ScriptedProvider(), settings=elsewhere)
    kept = parsed({"match": "a", "provider": "ollama", "stays": ["ollama"]})
    providers = [ScriptedProvider(), OllamaProvider()]
    LLMService(providers, settings=kept)
    with pytest.raises(ValueError, match='"scripted" is not in it, but default_provider sends'):
        LLMService(providers, settings=parsed(stays=["ollama", "local"]))
    with pytest.raises(ValueError, match="a chain needs a provider"):
        LLMService([])
