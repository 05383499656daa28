"""`[models] allow`: which names it takes, and what a room means by a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config import allowed_models
from engine.config.allowed_models import AllowedModels, ChosenModel
from engine.config.channel_rules import NO_RULE
from engine.config.loading import parse
from engine.errors import NotAllowed
from providers.validation import ValidationError

ALLOW = ["ollama/*", "openai/gpt-4o-mini", "openrouter/meta-llama/llama-3.?", "openai/o?"]


def found(name: str, usual: str = "ollama", allow: list[str] | None = None) -> str:
    """Return the model that a name means, or why there is none."""
    try:
        return str(AllowedModels(ALLOW if allow is None else allow, usual).find(name))
    except NotAllowed as exc:
        return str(exc)


@pytest.mark.parametrize(
    ("name", "usual", "meant"),
    [
        ("ollama/llama3.2", "openai", "ollama/llama3.2"),
        ("ollama/hf.co/bartowski/Llama:Q4", "openai", "ollama/hf.co/bartowski/Llama:Q4"),
        ("Llama3.2:1b", "ollama", "ollama/Llama3.2:1b"),
        ("gpt-4o-mini", "openai", "openai/gpt-4o-mini"),
        ("o3", "openai", "openai/o3"),
        ("meta-llama/llama-3.1", "openrouter", "openrouter/meta-llama/llama-3.1"),
        ("openrouter/meta-llama/llama-3.1", "ollama", "openrouter/meta-llama/llama-3.1"),
        # What begins with a provider is that provider's, although it could be a model of ollama.
        ("openai/gpt-4o-mini", "ollama", "openai/gpt-4o-mini"),
    ],
)
def test_a_name_says_its_provider_or_is_one_of_the_channels(
    name: str, usual: str, meant: str
) -> None:
    assert found(name, usual) == meant


@pytest.mark.parametrize(
    ("name", "usual"),
    [
        ("gpt-4o", "openai"),
        ("GPT-4o-mini", "openai"),
        ("OpenAI/gpt-4o-mini", "openai"),
        ("openai/gpt-4", "ollama"),
        ("openai/", "openai"),
        ("meta-llama/llama-3.10", "openrouter"),
        ("gpt-4o-mini", "local"),
        ("lläma", "ollama"),
        ("x" * 129, "ollama"),
        ("", "ollama"),
    ],
)
def test_what_is_not_listed_is_refused_with_what_there_is(name: str, usual: str) -> None:
    said = f'Model "{name[:80]}" cannot be chosen here. There are: {", ".join(ALLOW)}.'
    assert found(name, usual) == said


def test_a_name_that_can_mean_several_models_is_asked_for_again() -> None:
    assert found("gpt-4o-mini", "ollama") == (
        'Model "gpt-4o-mini" may be ollama/gpt-4o-mini, openai/gpt-4o-mini:'
        " write it with the provider."
    )
    both = ["ollama/gpt-4o-mini", "openai/gpt-4o-mini"]
    assert found("gpt-4o-mini", "ollama", both) == "ollama/gpt-4o-mini"
    assert found("gpt-4o-mini", "openai", both) == "openai/gpt-4o-mini"


def test_a_provider_with_a_slash_in_its_name_is_not_taken_for_another() -> None:
    assert "cannot be chosen" in found("m", "a/b", ["a/*"])


def test_a_pattern_is_no_name() -> None:
    said = 'Model "ollama/*" is a pattern: write the name of one model.'
    assert found("ollama/*") == said


def test_without_models_the_setting_is_named() -> None:
    assert found("ollama/llama3.2", allow=[]) == (
        'Model "ollama/llama3.2" cannot be chosen: [models] allow names none for this channel.'
    )


def test_only_models_that_may_see_the_text_are_offered(tmp_path: Path) -> None:
    rules: list[dict[str, Any]] = [
        {"match": "in/*", "provider": "ollama", "stays": ["ollama"]},
        {"match": "or/*", "provider": "openrouter", "fallback_providers": ["ollama", "openai"]},
    ]
    values = {"models": {"allow": ALLOW}, "channels": {"rules": rules}}
    settings = parse(values, tmp_path)
    inside, other = (allowed_models.of_rule(settings, rule) for rule in settings.channels.rules)
    assert inside.patterns == ["ollama/*"]
    assert ChosenModel("openai", "gpt-4o-mini") not in inside
    assert allowed_models.of_rule(settings, NO_RULE).patterns == other.patterns == ALLOW
    assert other.providers == ["ollama", "openai", "openrouter"]
    # Nobody else is asked, unless the rule says so.
    asked = [allowed_models.asked(rule, "ollama") for rule in (NO_RULE, *settings.channels.rules)]
    assert asked == [("ollama",), ("ollama",), ("ollama", "openai")]


EXPECTED = 'expected a provider and a model, such as "ollama/*" or "openai/gpt-4o-mini", got '


@pytest.mark.parametrize(
    ("allow", "problem"),
    [
        (["gpt-4o"], f'models.allow[0]: {EXPECTED}"gpt-4o"'),
        (["ollama/*", "openai/"], f'models.allow[1]: {EXPECTED}"openai/"'),
        (["*"], f'models.allow[0]: {EXPECTED}"*"'),
        (["*/gpt-4o"], f'models.allow[0]: {EXPECTED}"*/gpt-4o"'),
        (["ollama/my model"], f'models.allow[0]: {EXPECTED}"ollama/my model"'),
        (["olama/*"], 'models.allow[0]: unknown provider "olama"; did you mean "ollama"?'),
        ("ollama/*", "models.allow: expected a list"),
    ],
)
def test_what_can_match_nothing_is_an_error(
    tmp_path: Path, allow: list[str] | str, problem: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        parse({"models": {"allow": allow}}, tmp_path)
    assert problem in str(caught.value)


def test_a_model_that_no_channel_may_use_is_an_error(tmp_path: Path) -> None:
    values = {
        "fallback_providers": [],
        "channels": {"stays": ["ollama"]},
        "models": {"allow": ["ollama/*", "openai/*"]},
    }
    with pytest.raises(ValidationError) as caught:
        parse(values, tmp_path)
    assert str(caught.value) == (
        'models.allow[1]: "openai" is not in channels.stays, so no channel may use it'
    )
