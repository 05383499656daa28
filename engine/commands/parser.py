"""Parsing of a `!chat` line into a command."""

from __future__ import annotations

from engine.commands.records import Chat, Command, Help, Reset, SetPersona, ShowPersonas, Stop


def parse(line: str) -> Command:
    """Return the command of `!chat <line>`. A line that only begins like a command is a Chat."""
    match line.lower().split():
        case [] | ["help"]:
            return Help()
        case ["reset"]:
            return Reset()
        case ["stop"]:
            return Stop()
        case ["persona"]:
            return ShowPersonas()
        case ["persona", name]:
            return SetPersona(name)
        case _:
            return Chat(line.strip())
