"""Breaks a growing text into the lines of a terminal, between words."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Callable, Iterator

import wcwidth

COLUMNS = 80
TAB = 8
FENCE = "```"
# No-break spaces are not among them: "10 000 km" stays whole.
_GAPS = frozenset(" \t\u3000\u200b" + "".join(map(chr, range(0x2000, 0x200B)))) - {"\u2007"}
# Kinds of signs that stay with the wide letter before them: brackets that close, full stops, ...
_CLOSING = ("Pe", "Pf", "Po", "Lm")


def columns() -> int:
    """Return the width of the terminal of standard output."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or COLUMNS
    except (OSError, ValueError):
        return COLUMNS


def cells(text: str) -> int:
    """Return how many columns the text takes."""
    return wcwidth.width(text)


def filled(text: str, width: int) -> str:
    """Return the text with its lines broken at `width`."""
    wrap = WordWrap(lambda: width)
    return wrap.feed(text) + wrap.end()


class WordWrap:
    """A breaker of lines that gets the text in pieces, and returns what can be shown of it.

    The last word of a piece may go on in the next one, so it is held back until its end is there.
    Lines of a block between fences stay as they are: they are code.

    - `width`: returns the columns of the terminal, which may change
    """

    def __init__(self, width: Callable[[], int], column: int = 0) -> None:
        self._width = width
        self._column = column
        self._starts_line = True
        self._gap = self._word = ""
        self._is_code = self._goes_on = False

    def feed(self, piece: str) -> str:
        """Return what of the text so far can be shown and was not returned before."""
        text, self._word = self._word + piece, ""
        shown = ""
        for part in _parts(text):
            shown += self._end_word()
            if part == "\n":
                shown += part
                self.begin_line()
            elif _GAPS.issuperset(part):
                self._gap += part
                self._goes_on = False
            else:
                self._word = part
        if wcwidth.width(self._word) > self._width():
            # No line can hold it, so it need not be held back until it is whole.
            shown += self._end_word()
            self._goes_on = True
        return shown

    def begin_line(self) -> None:
        """Go on at the beginning of a line."""
        self._column, self._gap = 0, ""
        self._starts_line, self._goes_on = True, False

    def end(self) -> str:
        """Return what was held back: the text is complete."""
        return self._end_word()

    def _end_word(self) -> str:
        if not self._word:
            return ""
        gap, word = self._gap, self._word
        self._gap = self._word = ""
        size, start, width = wcwidth.width(word), self._after(gap), max(1, self._width())
        if self._starts_line and word.startswith(FENCE):
            self._is_code = not self._is_code
        is_indented = self._starts_line and self._column == 0
        stays = start + size <= width or is_indented or self._is_code or self._goes_on
        end = start + size if stays else size
        # Where the terminal itself breaks what is wider than it.
        self._column = end if end <= width else end % width
        self._starts_line = False
        return gap + word if stays else "\n" + word

    def _after(self, gap: str) -> int:
        """Return the column after the spaces."""
        column = self._column
        for space in gap:
            column += TAB - column % TAB if space == "\t" else wcwidth.width(space)
        return column


def _parts(text: str) -> Iterator[str]:
    """Yield line feeds, runs of spaces, and what must not be broken: words, single wide letters."""
    word = ""
    for cluster in wcwidth.iter_graphemes(text):
        is_gap = cluster in _GAPS
        if word and not _belongs(word, cluster, is_gap):
            yield word
            word = ""
        if cluster == "\n":
            yield cluster
        else:
            word += cluster
    if word:
        yield word


def _belongs(word: str, cluster: str, is_gap: bool) -> bool:
    if cluster == "\n" or is_gap != (word[-1] in _GAPS):
        return False
    return (
        is_gap
        or unicodedata.category(cluster[0]) in _CLOSING
        or not (_is_wide(cluster) or _is_wide(word[0]))
    )


def _is_wide(cluster: str) -> bool:
    """Return whether a line may be broken before and after this letter."""
    return unicodedata.east_asian_width(cluster[0]) in "WF" and wcwidth.width(cluster) == 2
