"""Texts of a configuration: how they are checked, and which one a room hears."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config import changes
from engine.config.loading import parse
from engine.texts import sentences
from engine.texts.sentence import Said
from engine.texts.texts import Texts
from providers.validation import ValidationError
from tests.support.said import MARKED

BUSY = sentences.CHANNEL_BUSY


def busy(number: int) -> Said:
    return BUSY(number=number, seconds=7)


def problem(texts: object, **more: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        parse({"texts": texts, **more}, Path.cwd())
    return str(caught.value)


@pytest.mark.parametrize(
    ("texts", "error"),
    [
        ("de", 'texts: expected a table, got "de"'),
        ({"stoped": "x"}, 'texts.stoped: unknown key; did you mean "stopped"?'),
        ({"de": {"stoped": "x"}}, 'texts.de.stoped: unknown key; did you mean "stopped"?'),
        ({"xyzzy": "x"}, "texts.xyzzy: unknown key; `rosey-llm config texts` lists them"),
        ({"stopped": 3}, "texts.stopped: expected a string, got 3"),
        ({"stopped": {"one": "x"}}, "texts.stopped: expected a string, got a table"),
        ({"de": {"stopped": {}}}, "texts.de.stopped: expected a string, got a table"),
        ({"de": {"stopped": ["x"]}}, "texts.de.stopped: expected a string, got a list"),
        ({"xyzzy": 3}, "texts.xyzzy: unknown key; `rosey-llm config texts` lists them"),
        (
            {"d e": {"stopped": "x"}},
            "texts.d e: expected the name of a language, of letters, digits, - and _",
        ),
        ({"stopped": " \u200b"}, "texts.stopped: expected a text, got nothing to see"),
        ({"stopped": "a\0b"}, "texts.stopped: expected text, got NUL characters"),
        (
            {"help": " !Chat is fun"},
            "texts.help: begins with !chat: a bot that hears itself would take it as a command",
        ),
        (
            {"persona_switched": "Now another one."},
            "texts.persona_switched: the placeholder {name} is missing",
        ),
        (
            {"de": {"persona_switched": "Jetzt {nam}."}},
            'texts.de.persona_switched: unknown placeholder {nam}; did you mean "name"?',
        ),
        (
            {"channel_busy": "{number}, {wait}"},
            "texts.channel_busy: unknown placeholder {wait}; it may have {number}, {seconds}",
        ),
        ({"stopped": "{x}"}, "texts.stopped: unknown placeholder {x}; it has none"),
        *(
            (
                {"stopped": text},
                "texts.stopped: expected placeholders such as {name}; "
                "write {{ and }} for other braces",
            )
            for text in ("{", "}", "{}", "{0}", "{name!r}", "{name:>5}", "{name.x}", "{ name }")
        ),
    ],
)
def test_a_wrong_text_is_an_error_that_says_where_and_what(texts: object, error: str) -> None:
    assert problem(texts) == error


@pytest.mark.parametrize(
    ("language", "error"),
    [
        ("dee", 'channels.rules[0].texts: unknown language "dee"; did you mean "de"?'),
        ("xyzzy", 'channels.rules[0].texts: unknown language "xyzzy"; add [texts.xyzzy]'),
        ("stopped", 'channels.rules[0].texts: unknown language "stopped"'),
    ],
)
def test_a_rule_that_names_an_unknown_language_is_an_error(language: str, error: str) -> None:
    texts = {"stopped": "Okay.", "de": {}}
    rules = {"rules": [{"match": "*", "texts": language}]}
    assert problem(texts, channels=rules) == error


def test_a_sentence_is_that_of_the_language_else_of_all_else_english() -> None:
    configured = {"stopped": "Okay.", "help": "All.", "de": {"stopped": "Gut."}, "fr": {}}
    texts = Texts(configured, lambda channel: channel if channel in ("de", "fr") else "")
    for channel, stopped in {"de": "Gut.", "fr": "Okay.", "#lobby": "Okay."}.items():
        assert texts.say(channel, sentences.STOPPED()) == stopped
        assert texts.say(channel, sentences.HELP()) == "All."
        assert texts.say(channel, sentences.SERVICE_CLOSED()) == "The service was closed."


def test_one_is_told_by_its_own_form_else_by_that_of_all_numbers() -> None:
    assert Texts().say("c", busy(1)).startswith("This channel is busy: 1 message is waiting.")
    assert Texts().say("c", busy(2)).startswith("This channel is busy: 2 messages are waiting.")
    assert Texts({"channel_busy": "Wait: {number}"}).say("c", busy(1)) == "Wait: 1"
    own = {"channel_busy": "{number} in {seconds} s", "channel_busy_one": "One."}
    assert [Texts(own).say("c", busy(number)) for number in (1, 2)] == ["One.", "2 in 7 s"]
    german = {**own, "de": {"channel_busy": "Noch {number}"}}
    assert Texts(german, lambda _: "de").say("c", busy(1)) == "Noch 1"
    german = {**own, "de": {"channel_busy_one": "Noch einer"}}
    said = [Texts(german, lambda _: "de").say("c", busy(number)) for number in (1, 2)]
    assert said == ["Noch einer", "2 in 7 s"]


def test_values_are_said_as_they_are() -> None:
    switched = sentences.PERSONA_SWITCHED(name="{x} {name}")
    assert Texts({"persona_switched": "{{{name}}}"}).say("c", switched) == "{{x} {name}}"
    for seconds, shown in ((1800.0, "1800"), (0.05, "0.05"), (2.5, "2.5"), (1e7, "10000000")):
        assert f"within {shown} s." in str(sentences.TURN_TIMEOUT(seconds=seconds))


def test_a_sentence_without_a_value_of_its_placeholders_is_a_defect() -> None:
    for values in ({}, {"nam": "x"}, {"name": "x", "more": "y"}):
        with pytest.raises(TypeError, match="persona_switched: expected"):
            sentences.PERSONA_SWITCHED(**values)


def test_a_reload_tells_which_texts_have_changed() -> None:
    before = parse({"texts": {"help": "a", "stopped": "b", "de": {"help": "c"}}}, Path.cwd())
    after = parse({"texts": {"help": "x", "de": {"help": "c", "stopped": "d"}}}, Path.cwd())
    found = changes.diff(before, after, [], [])
    assert found.texts == {"de.stopped": "added", "help": "changed", "stopped": "removed"}
    assert found.lines == ["texts: de.stopped added, help changed, stopped removed"]
    assert changes.applied(before, after).texts == after.texts


def test_a_reload_counts_many_texts_of_one_language() -> None:
    before = parse({"texts": {"help": "a"}}, Path.cwd())
    german = {key: f"de {text}" for key, text in MARKED.items()}
    after = parse({"texts": {"help": "x", "de": german}}, Path.cwd())
    (line,) = changes.diff(before, after, [], []).lines
    assert line == f"texts: {len(german)} sentences of de added, help changed"
    (line,) = changes.diff(after, before, [], []).lines
    assert line == f"texts: help changed, {len(german)} sentences of de removed"
