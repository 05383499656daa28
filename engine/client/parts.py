"""`split`: a long text in parts that a room takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import wcwidth

Unit = Literal["bytes", "characters"]
LEAST = 16
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^`]*)$")
_SPACED = re.compile(r"([ \t]*)([^ \t]+)")


def split(text: str, limit: int, unit: Unit = "bytes", *, one_line: bool = False) -> list[str]:
    """Return the text in parts of at most `limit` bytes of UTF-8, or characters (code points).

    Breaks are between lines, else between words, else between the characters that people see (an
    emoji with its skin colour, a letter with its accents). Only white space at a break is dropped.
    A block of code that is broken is closed in one part and opened again in the next one.

    - `one_line`: each line is a part of its own, for rooms in which a message is one line. Blocks
      of code are then lines like others; `plain` takes their fences away.

    A text without visible characters has no parts. Raise ValueError for a limit below 16.
    """
    if unit not in ("bytes", "characters"):
        raise ValueError(f'unit: expected "bytes" or "characters", got {unit!r}')
    if limit < LEAST:
        raise ValueError(f"limit: expected {LEAST} or more, got {limit}")
    size = len if unit == "characters" else _bytes
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not one_line and text.strip() and size(text) <= limit:
        return [text.strip("\n")]
    parts = _Parts(limit, size)
    for line in text.splitlines() if one_line else text.split("\n"):
        if one_line:
            parts.add_text(line)
            parts.cut()
        else:
            parts.add(line)
    parts.end()
    return parts.done


class _Fence(NamedTuple):
    """The fence of a block of code: the line that opens it again, and the one that closes it."""

    again: str
    close: str


class _Parts:
    """A builder of parts, line by line. `done`: the complete ones."""

    def __init__(self, limit: int, size: Callable[[str], int]) -> None:
        self.done: list[str] = []
        self._limit = limit
        self._measure = size
        self._fence: _Fence | None = None
        self._part = ""
        self._size = 0

    def add(self, line: str) -> None:
        """Add a line of a text that may have blocks of code."""
        if self._fence is None:
            self._begin(line, self._opened_by(line))
        elif _closes(line, self._fence.close):
            self._append(f"\n{self._fence.close}")
            self._fence = None
        elif self._fits(f"\n{line}"):
            self._append(f"\n{line}")
        else:
            if self._part != self._fence.again:
                self.cut()
            self._chop(line, "\n")

    def add_text(self, line: str) -> None:
        """Add a line outside of a block of code."""
        glue = "\n" if self._part else ""
        if not self._part and not line.strip():
            return
        if self._fits(glue + line):
            self._append(glue + line)
        elif self._measure(line) <= self._limit:
            self.cut()
            self._append(line)
        else:
            self._add_words(line, glue)

    def cut(self) -> None:
        """End the part, and begin the next one."""
        if self._fence is not None:
            self.done.append(f"{self._part}\n{self._fence.close}")
            self._part = self._fence.again
        else:
            if self._part.strip():
                self.done.append(self._part.rstrip())
            self._part = ""
        self._size = self._measure(self._part)

    def end(self) -> None:
        if self._fence is not None:
            self._append(f"\n{self._fence.close}")
            self._fence = None
        self.cut()

    def _begin(self, line: str, fence: _Fence | None) -> None:
        """Add a line outside of a block of code; it begins one if there is a fence."""
        rest = ""
        if fence is not None and not self._fits(f"\n{line}\n{fence.close}"):
            self.cut()
            if not self._fits(f"{line}\n{fence.close}"):  # it says too much after its marks
                line, rest = fence.close, line.strip().lstrip(fence.close[0]).lstrip()
        self.add_text(line)
        self._fence = fence
        if rest:
            self.add(rest)

    def _add_words(self, line: str, glue: str) -> None:
        for gap, word in _words(line):
            glue += gap
            if self._fits(glue + word):
                self._append(glue + word)
            else:
                self.cut()
                self._chop(word, "")
            glue = ""

    def _chop(self, text: str, glue: str) -> None:
        """Add a text, with a break wherever the part is full."""
        room = self._limit // 2  # every new part has it
        for cluster in _clusters(text):
            # No part can hold some of what fonts can stack on one letter.
            for piece in cluster if self._measure(cluster) > room else (cluster,):
                if not self._fits(glue + piece):
                    self.cut()
                    glue = "\n" if self._fence is not None else ""
                self._append(glue + piece)
                glue = ""

    def _fits(self, text: str) -> bool:
        closing = 0 if self._fence is None else 1 + self._measure(self._fence.close)
        return self._size + self._measure(text) + closing <= self._limit

    def _append(self, text: str) -> None:
        self._part += text
        self._size += self._measure(text)

    def _opened_by(self, line: str) -> _Fence | None:
        """Return the fence that this line opens, if its marks are not too long."""
        found = _FENCE.match(line)
        if found is None:
            return None
        close, half = found[1], self._limit // 2
        for again in (line, close):
            if self._measure(again) + self._measure(close) + 2 <= half:
                return _Fence(again, close)
        return None


def _closes(line: str, close: str) -> bool:
    mark = line.strip(" \t")
    return len(mark) >= len(close) and set(mark) == {close[0]} and not line.startswith("    ")


def _words(line: str) -> Iterator[tuple[str, str]]:
    """Yield each word and the spaces before it. No-break spaces are parts of words."""
    if line.isascii():
        for found in _SPACED.finditer(line):
            yield found[1], found[2]
        return
    gap = word = ""
    for cluster in wcwidth.iter_graphemes(line):
        is_gap = cluster in (" ", "\t", "\u3000")
        if is_gap and word:
            yield gap, word
            gap = word = ""
        if is_gap:
            gap += cluster
        else:
            word += cluster
    if word:
        yield gap, word


def _clusters(text: str) -> Iterator[str]:
    return iter(text) if text.isascii() else wcwidth.iter_graphemes(text)


def _bytes(text: str) -> int:
    # A lone half of a surrogate pair cannot be sent, but it must not break the counting.
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
