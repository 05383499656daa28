"""A speaker's label, such as "Rosey:", "**Rosey:**" or "[Rosey]:", at the start of a text.

In a channel with several speakers the prompt has lines like "alice: Hello". Models imitate them,
and often dress the name up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from providers.invisible import is_blank

# What may stand around a name, and what closes it.
_PAIRS = (
    *("**", "__", "~~", "``", '""', "''", "[]", "()", "<>"),
    *("\u201c\u201d", "\u201e\u201c", "\u2018\u2019", "\u00ab\u00bb", "\u2039\u203a"),
    *("\u300c\u300d", "\u300e\u300f", "\u3010\u3011", "\uff08\uff09"),
)
_CLOSING = {pair[0]: pair[1] for pair in _PAIRS}
_BRACKETS = "[<"
# A line of data may begin with a quoted name ("alice": 3), a list with a star and a blank.
_STRICT_MARKS = f"*_{_BRACKETS}"
COLONS = (":", "\uff1a", "\ufe55")
# Limits, so that only little text is held back while it may still become a label.
_MOST_MARKS = 8
_MOST_IN_FRONT = 32
_MOST_BLANKS = 4


class Label(NamedTuple):
    """A label at the start of a text.

    end: where the text goes on.
    kept: marks that were opened in front of the name and not closed: they belong to the text, such
        as the stars of "**Rosey: all of this is bold**".
    """

    end: int
    kept: str


class NeedsMoreText(Exception):
    """The text ends before it is clear whether it begins with a label."""


class Labels:
    """The labels of some speakers.

    longest: no label, with the character after it, is longer.
    lenient: whether letter case does not matter, and quotes and headings (#) are dress as well.
    """

    def __init__(self, names: Iterable[str], *, lenient: bool) -> None:
        self._fold: Callable[[str], str] = str.casefold if lenient else str
        self._marks = "".join(_CLOSING) if lenient else _STRICT_MARKS
        self._heading = "#" if lenient else ""
        longest_first = sorted(
            {name for name in names if name}, key=lambda name: (-len(name), name)
        )
        self._names = [(name, self._fold(name)) for name in longest_first]
        marks = _MOST_IN_FRONT + 2 * _MOST_MARKS + _MOST_BLANKS
        self.longest = marks + len(max(longest_first, key=len, default="")) + len(": ")

    def at_start(self, text: str) -> Label | None:
        """Return the label that the text begins with; raise NeedsMoreText if more text is needed.

        White space and invisible characters may stand in front of it.
        """
        opened, skipped, at = "", 0, 0
        while True:
            if label := self._after_marks(text, at, opened):
                return label
            mark = text[at]
            is_in_front = mark == self._heading or is_blank(mark)
            if is_in_front and not opened and skipped < _MOST_IN_FRONT:
                skipped += 1
            elif mark in self._marks and len(opened) < _MOST_MARKS:
                opened += mark
            else:
                return None
            at += 1

    def _after_marks(self, text: str, at: int, opened: str) -> Label | None:
        rest = len(text) - at
        for name, folded in self._names:
            part = self._fold(text[at : at + len(name)])
            if part == folded:
                if label := _closed(text, at + len(name), opened):
                    return label
            elif rest < len(name) and part == self._fold(name[:rest]):
                raise NeedsMoreText
        if not rest:
            raise NeedsMoreText
        return None


def _closed(text: str, at: int, opened: str) -> Label | None:
    """Return the label whose name ends at `at`; None if the name is a part of the text.

    It ends with a colon, or with the bracket around the name and white space.
    """
    has_colon = is_bracketed = False
    blanks = 0
    while at < len(text):
        char = text[at]
        if opened and char == _CLOSING[opened[-1]]:
            is_bracketed = opened[-1] in _BRACKETS
            opened = opened[:-1]
        elif char in COLONS and not has_colon:
            has_colon = True
        elif char in " \t" and not has_colon and blanks < _MOST_BLANKS:
            blanks += 1
        else:
            break
        at += 1
    else:
        raise NeedsMoreText
    is_label = has_colon or (is_bracketed and not opened and (blanks > 0 or text[at].isspace()))
    return Label(at, opened) if is_label else None
