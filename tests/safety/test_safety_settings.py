"""What may stand in `[safety]`, in a rule, and beside `stays`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import LLMService
from engine.config import changes, loading
from engine.config.safety_settings import SafetySettings
from engine.config.settings import Settings
from engine.interfaces.reports.channel_settings import Setting, describe
from providers import ScriptedProvider
from providers.validation import ValidationError


def parsed(*rules: dict[str, Any], **more: Any) -> Settings:
    return loading.parse({"channels": {"rules": list(rules)}, **more}, Path.cwd())


def problem(*rules: dict[str, Any], **more: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        parsed(*rules, **more)
    return str(caught.value)


def test_everything_is_off_by_default() -> None:
    assert parsed().safety == SafetySettings()
    assert not any([parsed().safety.deny, parsed().safety.neutralise, parsed().safety.moderation])


@pytest.mark.parametrize(
    ("table", "error"),
    [
        (
            {"deny": ["ok", "("]},
            'deny[1]: expected a regular expression, got "(": missing ) at position 1',
        ),
        ({"deny": "spam"}, 'deny: expected a list, got "spam"'),
        ({"deny": ["a*"]}, 'deny[0]: "a*" matches every message, even an empty one'),
        ({"deny": [""]}, 'deny[0]: "" matches every message, even an empty one'),
        (
            {"neutralise": ["everyone"]},
            'neutralise[0]: expected a mention such as "@everyone", of at most 64 characters,'
            ' got "everyone"',
        ),
        (
            {"neutralise": ["@", ""]},
            'neutralise[1]: expected a mention such as "@everyone", of at most 64 characters,'
            ' got ""',
        ),
        ({"on_failure": "ignore"}, 'on_failure: expected "refuse" or "allow", got "ignore"'),
        ({"moderation_timeout_s": 0}, "moderation_timeout_s: expected more than 0, got 0"),
        ({"moderation_model": " "}, "moderation_model: expected a model, got nothing"),
        ({"moderation": "opena"}, 'moderation: unknown provider "opena"; did you mean "openai"?'),
        *(
            (
                {"moderation": name},
                f'moderation: "{name}" has no moderation; name a provider of the kind "openai",'
                ' whose server has the path /moderations, or ""',
            )
            for name in ("ollama", "openrouter", "local", "scripted")
        ),
        ({"neutralize": ["@a"]}, 'neutralize: unknown key; did you mean "neutralise"?'),
    ],
)
def test_a_wrong_setting_is_an_error_that_says_where(table: dict[str, Any], error: str) -> None:
    assert problem(safety=table) == f"safety.{error}"
    assert problem({"match": "*", "safety": table}) == f"channels.rules[0].safety.{error}"


def test_a_rule_has_the_other_keys_from_the_table() -> None:
    settings = parsed(
        {"match": "a", "safety": {"deny": [], "on_failure": "allow"}},
        {"match": "b"},
        safety={"deny": ["spam"], "neutralise": ["@here"], "moderation": "openai"},
    )
    first, second = settings.channels.rules
    assert settings.safety_of(first) == SafetySettings(
        neutralise=("@here",), moderation="openai", on_failure="allow"
    )
    assert settings.safety_of(second) == settings.safety


def judged(key: str, place: str) -> str:
    return (
        f'{key}: "openai" is not in it, but {place} has it judge what is said in these channels; '
        'name another one there, set safety = { moderation = "" } in the rule, or add it here'
    )


LOCAL = {"default_provider": "local", "fallback_providers": []}


@pytest.mark.parametrize(
    ("channels", "safety", "error"),
    [
        ({"stays": ["local"]}, "openai", judged("channels.stays", "safety.moderation")),
        (
            {"rules": [{"match": "in/*", "stays": ["local"]}]},
            "openai",
            judged("channels.rules[0].stays", "safety.moderation"),
        ),
        (
            {"rules": [{"match": "*", "stays": ["local"], "safety": {"moderation": "openai"}}]},
            "",
            judged("channels.rules[0].stays", "channels.rules[0].safety.moderation"),
        ),
        (
            {"stays": ["local"], "rules": [{"match": "*", "safety": {"moderation": "openai"}}]},
            "",
            judged("channels.stays", "channels.rules[0].safety.moderation"),
        ),
    ],
)
def test_what_stays_is_not_sent_to_be_judged(
    channels: dict[str, Any], safety: str, error: str
) -> None:
    assert problem(channels=channels, safety={"moderation": safety}, **LOCAL) == error


@pytest.mark.parametrize(
    "rule",
    [
        {"stays": ["local", "openai"]},
        {"stays": ["local"], "safety": {"moderation": ""}},
        {"stays": ["local", "judge"], "safety": {"moderation": "judge"}},
    ],
)
def test_who_judges_may_be_named_by_stays(rule: dict[str, Any]) -> None:
    judge = {"kind": "openai", "base_url": "http://127.0.0.1:1/v1"}
    providers = {"judge": judge}
    parsed({"match": "*", **rule}, safety={"moderation": "openai"}, providers=providers, **LOCAL)


def test_a_reload_tells_what_changed() -> None:
    before = parsed({"match": "a"}, safety={"deny": ["spam"]})
    after = parsed({"match": "a", "safety": {"deny": []}}, safety={"deny": ["spam", "eggs"]})
    found = changes.diff(before, after, [], [])
    assert found.settings == {"safety.deny": ("spam", "eggs")}
    assert found.rules == {"a": "changed"}
    assert not found.restart


def test_channel_show_says_where_each_setting_comes_from() -> None:
    settings = parsed(
        {"match": "a", "safety": {"moderation": "", "deny": ["eggs"]}},
        safety={"deny": ["spam"], "moderation": "openai"},
    )
    found = describe(settings, "a", None, None).settings
    assert found["safety deny"] == Setting(("eggs",), "rule")
    assert found["safety moderation"] == Setting("", "rule")
    assert found["safety on_failure"] == Setting("refuse", "default")
    found = describe(settings, "b", None, None).settings
    assert found["safety deny"] == Setting(("spam",), "default")
    assert found["safety moderation"] == Setting("openai", "default")


def test_a_program_may_give_providers_of_its_own_and_have_another_one_judge() -> None:
    settings = loading.parse({"safety": {"moderation": "openai"}}, Path.cwd())
    LLMService(ScriptedProvider(), settings=settings)
