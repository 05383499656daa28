"""Runs a command on a terminal, and keeps what the terminal showed at which time."""

from __future__ import annotations

import os
import pty
import select
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyte

COLUMNS, LINES = 80, 24
QUIET_S = 0.02  # after this long without output, a picture is complete
LONGEST_S = 180.0
LEAVE_ALTERNATE_SCREEN = b"\x1b[?1049l"
DIM = 2


@dataclass(frozen=True, slots=True, order=True)
class Style:
    fg: str
    bg: str
    bold: bool


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring letters of one style on one line."""

    line: int
    column: int
    text: str
    style: Style


@dataclass(frozen=True, slots=True)
class Picture:
    """All that the terminal showed from `at_s` on."""

    at_s: float
    runs: frozenset[Run]


class Screen(pyte.Screen):
    """pyte's screen, which also knows dim letters."""

    def select_graphic_rendition(self, *attrs: int, **more: Any) -> None:
        super().select_graphic_rendition(*attrs, **more)
        if DIM in attrs and self.cursor.attrs.fg == "default":
            self.cursor.attrs = self.cursor.attrs._replace(fg="dim")

    def runs(self) -> Iterator[Run]:
        for line in range(self.lines):
            cells = [self.buffer[line][column] for column in range(self.columns)]
            styled = groupby(range(self.columns), key=lambda column: _style(cells[column]))
            for style, columns in styled:
                places = list(columns)
                text = "".join(cells[column].data for column in places)
                kept = text if style.bg != "default" else text.rstrip()
                start = 0 if style.bg != "default" else len(kept) - len(kept.lstrip())
                if kept:
                    yield Run(line, places[0] + start, kept[start:], style)


def _style(cell: pyte.screens.Char) -> Style:
    fg, bg = (cell.bg, cell.fg) if cell.reverse else (cell.fg, cell.bg)
    # Swapped defaults are the other way round, not again the defaults.
    if cell.reverse:
        fg, bg = fg.replace("default", "background"), bg.replace("default", "foreground")
    return Style(fg, bg, cell.bold)


def record(
    command: list[str], typed: str, last_words: str, environment: Mapping[str, str] = os.environ
) -> list[Picture]:
    """Return the pictures of a command, the first with what a user types for it.

    Enter is pressed once `last_words` are shown.
    """
    screen = Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    stream.feed(f"$ {typed}\r\n".encode())
    pictures = [Picture(0.0, frozenset(screen.runs()))]
    began_s = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        size = {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
        os.execvpe(command[0], command, {**environment, **size})
    pressed = False
    for output in _outputs(terminal, began_s):
        before, left, after = output.rpartition(LEAVE_ALTERNATE_SCREEN)
        if left:  # pyte has no alternate screen
            stream.feed(before)
            screen.reset()
        stream.feed(after)
        pictures.append(Picture(time.monotonic() - began_s, frozenset(screen.runs())))
        if not pressed and any(last_words in line for line in screen.display):
            os.write(terminal, b"\r")
            pressed = True
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code or not pressed:
        raise SystemExit(f"{command} ended with {code}: {' / '.join(screen.display)}")
    return pictures


def _outputs(terminal: int, began_s: float) -> Iterator[bytes]:
    """Yield what is written at one time."""
    output = b""
    while time.monotonic() - began_s < LONGEST_S:
        if select.select([terminal], [], [], QUIET_S if output else 1.0)[0]:
            try:
                output += os.read(terminal, 65536)
            except OSError:  # the command has ended
                break
        elif output:
            yield output
            output = b""
    if output:
        yield output
