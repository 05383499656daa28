"""Placeholders in the prompts of personas and in hints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import LLMService
from engine.answering.prompt_forms import system_text
from engine.config import old_defaults
from engine.config.loading import parse
from engine.config.placeholders import filled, with_bot_name
from engine.config.settings import Settings
from providers import ScriptedProvider
from providers.validation import ValidationError

UNKNOWN = (
    "unknown placeholder {name}; there are {bot_name}, {channel} and {platform}. "
    "For the text {name} itself write {{name}}"
)


def settings(prompt: str = "Be.", hint: str = "Be short.", bot_name: str = "Beth") -> Settings:
    values: dict[str, Any] = {
        "service": {"bot_name": bot_name},
        "personas": {"own": {"prompt": prompt}},
        "channels": {"rules": [{"match": "*", "hint": hint}]},
    }
    return parse(values, Path.cwd())


def problem(**values: str) -> str:
    with pytest.raises(ValidationError) as caught:
        settings(**values)
    return str(caught.value)


def test_an_unknown_placeholder_is_an_error_that_says_how_to_write_it() -> None:
    assert problem(prompt="Call me {name}.") == f"personas.own.prompt: {UNKNOWN}"
    assert problem(hint="Call me {name}.") == f"channels.rules[0].hint: {UNKNOWN}"
    with pytest.raises(ValueError, match="unknown placeholder"):
        LLMService(ScriptedProvider(), personas={"own": "Call me {name}."})


def test_a_hint_that_names_a_bot_without_a_name_is_an_error() -> None:
    assert problem(hint="You are {bot_name}.", bot_name=" ") == (
        "channels.rules[0].hint: contains {bot_name}, but service.bot_name is empty"
    )


def test_the_name_of_a_bot_has_no_braces() -> None:
    assert problem(bot_name="{channel}") == (
        'service.bot_name: expected a name without braces, got "{channel}"'
    )


@pytest.mark.parametrize(
    "prompt",
    [
        'Answer as {"name": "Ann", "at": {"x": 1}}.',
        "A set {1, 2}, an empty {} and {{}}, {{ one }}, { two }, {three, four}, {f()}.",
        "An open { and a closed }.",
        "{channel.name} {channel!r} {channel:>3} {größe}",
    ],
)
def test_other_braces_of_old_prompts_are_sent_as_they_stand(prompt: str) -> None:
    found = settings(prompt).personas["own"].prompt
    assert system_text(found, "", "irc/#lobby") == prompt
    assert not old_defaults.notes(settings(prompt))


def test_doubled_braces_of_an_old_prompt_are_named_at_the_start() -> None:
    (note,) = old_defaults.notes(settings("Call me {{name}}."))
    assert note == (
        "personas.own.prompt: {{name}} is sent as {name}; before 0.2.0 it was sent as it stands. "
        "For that, write {{{name}}}"
    )


@given(st.text("{}ab_ ", max_size=30))
def test_the_bots_name_is_put_in_once_and_does_not_change_the_rest(text: str) -> None:
    # The two steps, at the start and for each channel, are one: no text is taken twice.
    stored = with_bot_name(text.replace("ab", "bot_name"), "Beth")
    at_once = filled(text.replace("ab", "bot_name"), {"bot_name": "Beth", "channel": "x"})
    assert filled(stored, {"channel": "x"}) == at_once
