from __future__ import annotations

from pathlib import Path

import pytest

from engine.commands import records
from engine.commands.parser import WORDS, parse
from engine.commands.records import (
    Chat,
    Command,
    Complete,
    Help,
    Reset,
    SetModel,
    SetPersona,
    ShowModel,
    ShowPersonas,
    ShowUsage,
    Stop,
)
from engine.config.settings import Settings
from engine.interfaces.terminal import greeting
from engine.texts.sentences import HELP

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("", Help()),
        ("   ", Help()),
        ("Usage ", ShowUsage()),
        ("usage of memory?", Chat("usage of memory?")),
        ("help", Help()),
        (" Help ", Help()),
        ("reset", Reset()),
        ("RESET", Reset()),
        ("stop", Stop()),
        ("Stop  ALL", Stop(everything=True)),
        ("stop all of it", Chat("stop all of it")),
        ("persona", ShowPersonas()),
        ("persona Concise", SetPersona("concise")),
        ("  persona   concise ", SetPersona("concise")),
        ("Model", ShowModel()),
        ("MODEL  Ollama/Llama3.2:1B ", SetModel("Ollama/Llama3.2:1B")),
        ("model default", SetModel("default")),
        ("model \u200b Qwen \u2060", SetModel("Qwen")),
        ("model trains are fun", Chat("model trains are fun")),
        ("hello", Chat("hello")),
        ("reset my router, how?", Chat("reset my router, how?")),
        ("help me with Python", Chat("help me with Python")),
        ("stop words in NLP?", Chat("stop words in NLP?")),
        ("persona non grata means what?", Chat("persona non grata means what?")),
        ("  spaces   inside stay ", Chat("spaces   inside stay")),
        ("resets", Chat("resets")),
        ("!chat reset", Chat("!chat reset")),
    ],
)
def test_a_line_is_a_command_only_if_the_whole_line_has_its_form(
    line: str, command: Command
) -> None:
    assert parse(line) == command


@pytest.mark.parametrize("word", WORDS)
def test_every_command_is_completed_by_tab_and_named_in_the_help_and_the_readme(word: str) -> None:
    completed = greeting.words(Settings())
    assert {word, f"!chat {word}"} <= set(completed)
    assert f"!chat {word} " in f"{HELP.english} "
    assert f"`!chat {word}`" in README.read_text()


@pytest.mark.parametrize(
    "command",
    [
        Chat("hi", "m", 0.5, 10, "concise", stream=True),
        Complete("hi"),
        Reset(),
        SetPersona("concise"),
        ShowPersonas(),
        SetModel("Ollama/x"),
        ShowModel(),
        Stop(),
        Help(),
    ],
)
def test_a_command_comes_back_from_the_mailbox_as_it_was(command: Command) -> None:
    assert records.decode(records.encode(command)) == command


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("\u200b", Help()),
        (" \ufeff\u3164 \U000e0000", Help()),
        ("\x01", Help()),
        ("reset \U000e0000", Reset()),
        ("\u200b persona concise \u2060", SetPersona("concise")),
        ("hello \U000e0000", Chat("hello \U000e0000")),
    ],
)
def test_invisible_words_do_not_make_a_line_another_command(line: str, command: Command) -> None:
    assert parse(line) == command
