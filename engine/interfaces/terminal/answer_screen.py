"""Shows answers on standard output while they grow, and notes beside them on standard error."""

from __future__ import annotations

import asyncio
import os
import sys

from engine.interfaces.terminal.control_characters import for_stream
from engine.interfaces.terminal.word_wrap import WordWrap, cells, columns, filled

TICK_S = 1.0
ERASE_LINE = "\r\x1b[K"


class AnswerScreen:
    """A view of one answer after the other.

    On a terminal, words are kept whole and a sign is shown until the first one comes; a pipe or a
    file gets the texts as they are.

    - `label`: stands before each answer
    - `waiting`: the sign
    - `shown`: what was shown of the answer
    """

    def __init__(self, label: str, waiting: str) -> None:
        self.shown = ""
        self._label = for_stream(label)
        self._waiting = for_stream(waiting)
        self._is_terminal = sys.stdout.isatty()
        # Another terminal cannot take the sign away.
        self._erases = self._is_terminal and os.environ.get("TERM", "dumb") != "dumb"
        self._wrap = WordWrap(columns)
        self._ticking: asyncio.Task[None] | None = None
        self._in_line = self._is_begun = False

    def begin(self) -> None:
        """Show that an answer is awaited."""
        self.shown = ""
        self._wrap = WordWrap(columns, cells(self._label))
        if self._erases:
            self._ticking = asyncio.create_task(self._tick())

    def append(self, text: str) -> None:
        """Show the next piece of the answer."""
        self._take_sign_away()
        if text and not self.shown:
            self._write(self._label)
        self.shown += text
        self._is_begun = bool(self.shown)
        self._write(self._wrap.feed(for_stream(text)) if self._is_terminal else text)

    def restart(self) -> None:
        """Show the answer again, from its beginning."""
        if self.shown:
            self.end()
        self.shown = ""
        self._wrap = WordWrap(columns, cells(self._label))

    def end(self, last: str = "") -> None:
        """End the answer's line, with the word `last` at its end."""
        self._take_sign_away()
        if last and not self.shown:
            self._write(self._label)
        self._write(self._wrap.feed(f" {last}" if last and self.shown else last))
        self._write(self._wrap.end() + "\n")
        self._in_line = self._is_begun = False

    def break_off(self) -> None:
        """End the answer where it is, unless it has ended: no more of it comes."""
        self._take_sign_away()
        if self._is_begun:
            self.end()

    def say(self, text: str) -> None:
        """Show lines that are no answer."""
        self._write(filled(for_stream(text), columns()) + "\n")

    def prompt(self, text: str) -> None:
        """Show the beginning of a line that a person types."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Show a line beside the answer, also in the middle of one."""
        is_waiting = self._ticking is not None
        self._take_sign_away()
        if self._in_line:
            self._write("\n")
            self._in_line = False
            self._wrap.begin_line()
        line = for_stream(text, sys.stderr)
        sys.stderr.write((filled(line, columns()) if sys.stderr.isatty() else line) + "\n")
        sys.stderr.flush()
        if is_waiting:
            self._ticking = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        """Show the sign, and how long it has been there, until it is taken away."""
        seconds = 0
        while True:
            sign = f"{self._waiting} {seconds} s" if seconds else self._waiting
            if cells(sign) >= columns():
                sign = "..."
            sys.stdout.write(ERASE_LINE + sign)
            sys.stdout.flush()
            await asyncio.sleep(TICK_S)
            seconds += 1

    def _take_sign_away(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
            self._write(ERASE_LINE)

    def _write(self, text: str) -> None:
        if not text:
            return
        if self._is_terminal:
            self._in_line = not text.endswith(("\n", ERASE_LINE))
        sys.stdout.write(text)
        sys.stdout.flush()
