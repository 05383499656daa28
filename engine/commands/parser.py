"""Words become a command. A word is one only when the whole line has a command's form."""

from __future__ import annotations

from engine.commands.records import Chat, Command, Help, Reset, SetPersona, ShowPersonas, Stop


def parse(line: str) -> Command:
    """What `!chat <line>` asks. A line that only begins like a command is a question."""
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
