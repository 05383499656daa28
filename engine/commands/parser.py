"""Parsing of a `!chat` line into a command."""

from __future__ import annotations

from collections.abc import Mapping

from engine.commands.records import (
    Chat,
    Command,
    Help,
    Reset,
    SetModel,
    SetPersona,
    ShowModel,
    ShowPersonas,
    ShowUsage,
    Stop,
)
from providers.invisible import is_blank

# The commands of one word. The terminal's Tab key completes them.
WORDS: Mapping[str, Command] = {
    "help": Help(),
    "model": ShowModel(),
    "persona": ShowPersonas(),
    "reset": Reset(),
    "stop": Stop(),
    "usage": ShowUsage(),
}


def parse(line: str) -> Command:
    """Return the command of `!chat <line>`. A line that only begins like a command is a Chat.

    Invisible words do not count: some chat programs append them, so that a line can be repeated.
    """
    match _words(line.lower()):
        case []:
            return Help()
        case [word] if word in WORDS:
            return WORDS[word]
        case ["stop", "all"]:
            return Stop(everything=True)
        case ["persona", name]:
            return SetPersona(name)
        case ["model", _]:
            return SetModel(_words(line)[1])  # a model's name may have capital letters
        case _:
            return Chat(line.strip())


def _words(line: str) -> list[str]:
    words = line.split()
    if line.isascii() and line.isprintable():  # the usual line, which may have many words
        return words
    return [word for word in words if not is_blank(word)]
