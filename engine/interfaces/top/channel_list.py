"""The channels on the screen of `rosey-llm top`: sorted, filtered and scrolled by keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Channel = Mapping[str, Any]
ESCAPE, ENTER, BACKSPACES = "\x1b", ("\r", "\n"), ("\x7f", "\b")
# What a terminal sends for keys, in both of its modes.
MOVES = {
    **dict.fromkeys(("\x1b[A", "\x1bOA", "k"), "up"),
    **dict.fromkeys(("\x1b[B", "\x1bOB", "j"), "down"),
    **dict.fromkeys(("\x1b[5~", "b"), "page up"),
    **dict.fromkeys(("\x1b[6~", " "), "page down"),
    **dict.fromkeys(("\x1b[H", "\x1bOH", "\x1b[1~", "g"), "home"),
    **dict.fromkeys(("\x1b[F", "\x1bOF", "\x1b[4~", "G"), "end"),
}
SORTS: Mapping[str, Callable[[Channel], Any]] = {
    "waiting": lambda each: (-each["waiting"], each["doing"] is None),  # as the service sends them
    "oldest": lambda each: -(each["oldest_s"] or 0),
    "turns": lambda each: -each["turns"],
    "idle": lambda each: each["idle_s"],
    "name": lambda each: each["channel"].casefold(),
}


class ChannelList:
    """What the user chose: the order, a part of the names, and the first line.

    is_typing: whether the keys are letters of the part.
    """

    def __init__(self) -> None:
        self.sort = "waiting"
        self.part = ""
        self.is_typing = False
        self._first = 0
        self._rows = 1
        self._found = 0

    def chosen(self, channels: Sequence[Channel], rows: int | None) -> tuple[list[Channel], int]:
        """Return the channels for `rows` lines (None: all), and how many others match.

        If not all fit, one line is left for that number.
        """
        part = self.part.casefold()
        found = [each for each in channels if part in each["channel"].casefold()]
        found.sort(key=SORTS[self.sort])
        if rows is None:
            return found, 0
        fits = len(found) <= rows
        self._rows, self._found = max(0, rows if fits else rows - 1), len(found)
        self._move(0)
        shown = found[self._first : self._first + self._rows]
        return shown, len(found) - len(shown)

    def press(self, key: str) -> bool:
        """Take a key; return whether the user wants to quit."""
        if self.is_typing:
            self._type(key)
        elif key in ("q", "Q", ""):
            return True
        elif key == "s":
            names = list(SORTS)
            self.sort = names[(names.index(self.sort) + 1) % len(names)]
            self._first = 0
        elif key == "/":
            self.is_typing, self.part, self._first = True, "", 0
        elif key == ESCAPE:
            self.part = ""
        elif move := MOVES.get(key):
            page = max(1, self._rows)
            steps = {"up": -1, "down": 1, "page up": -page, "page down": page}
            self._move(steps.get(move, self._found if move == "end" else -self._found))
        return False

    def _type(self, key: str) -> None:
        if key in ENTER:
            self.is_typing = False
        elif key == ESCAPE:
            self.is_typing, self.part = False, ""
        elif key in BACKSPACES:
            self.part = self.part[:-1]
        elif key.isprintable():
            self.part += key
        self._first = 0

    def _move(self, lines: int) -> None:
        self._first = max(0, min(self._first + lines, self._found - self._rows))
