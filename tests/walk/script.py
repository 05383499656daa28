"""Parses and writes a document's console blocks: commands and their output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

BLOCK = re.compile(r"```console\n(.*?)```\n", re.DOTALL)
NOT_RUN = "<!-- not run -->\n"


@dataclass(frozen=True, slots=True)
class Step:
    """A command, possibly of several lines, and its output."""

    command: str
    printed: str


def blocks(document: str) -> Iterator[tuple[int, int, list[Step]]]:
    """Yield begin and end of each console block's content, and its steps."""
    for found in BLOCK.finditer(document):
        if not document[: found.start()].endswith(NOT_RUN):
            yield found.start(1), found.end(1), list(_steps(found[1]))


def render(steps: list[Step]) -> str:
    """Return the content of a console block."""
    text = "".join(f"$ {step.command}\n{step.printed}" for step in steps)
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


def _steps(block: str) -> Iterator[Step]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        # A command continues after a backslash, and to the end of a here-document.
        pattern = r"(?:.*<<'END'\n(?:.*\n)*?END|(?:.*\\\n)*.*)\n"
        command = re.match(pattern, part)
        assert command is not None
        yield Step(command[0].rstrip("\n"), part[command.end() :])
