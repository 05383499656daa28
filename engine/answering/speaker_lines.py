"""A filter that ends an answer before the line of another speaker."""

from __future__ import annotations

import re
from collections.abc import Iterable

from engine.answering.speaker_label import COLONS, Labels, NeedsMoreText

_LINE_BREAK = re.compile(r"[\n\r]")
_AT_THE_END_OF_A_LINE = " \t\r\n*_~`\"'"
_BLANK = re.compile(r"\s*")
_FENCES = ("```", "~~~")
_CODE_INDENT = 4
_MOST_BLANK = 256


class SpeakerLines:
    """A filter that takes an answer in pieces and ends it before another speaker's line.

    Models that read "alice: Hello" and "bob: Hi" sometimes go on with what they expect the others
    to say. A line that begins with a speaker's label ends the answer, but not:

    - the first line: it may address that speaker
    - a line in a fence (```) or indented by four spaces: it is code
    - a line after one that ends with a colon, and the lines of speakers that follow it: they are
      a list, such as "The scores:", "alice: 3", "bob: 5"

    ended: whether a line has ended the answer. All later text is dropped.
    """

    def __init__(self, speakers: Iterable[str]) -> None:
        self._labels = Labels(speakers, lenient=False)
        self._held = ""
        self._in_line = False
        self._is_first_line = True
        self._fence = ""
        self._in_list = False
        self._last = ""  # the last visible character, without marks such as the stars of bold text
        self.ended = False

    def feed(self, piece: str) -> str:
        """Return the text to show after this piece. White space at its end may be held back."""
        if self._in_line and "\n" not in piece and "\r" not in piece:  # the usual piece
            return self._noted(piece)
        text, self._held = self._held + piece, ""
        shown, at = [], 0
        while at < len(text) and not self.ended:
            try:
                end = (self._end_of_line if self._in_line else self._start_of_line)(text, at)
            except NeedsMoreText:
                self._held = text[at:]
                break
            shown.append(self._noted(text[at:end]))
            at = end
        return "".join(shown)

    def _end_of_line(self, text: str, at: int) -> int:
        found = _LINE_BREAK.search(text, at)
        if found is None:
            return len(text)
        self._in_line = False
        return found.start()

    def _start_of_line(self, text: str, at: int) -> int:
        """Look at the line that begins at `at`; return up to where the text can be shown."""
        blank = _BLANK.match(text, at, at + _MOST_BLANK + 1)
        assert blank is not None  # noqa: S101 -- it also matches nothing
        start = blank.end()
        if start > at + _MOST_BLANK:
            return at + _MOST_BLANK
        line = text[start : start + self._labels.longest]
        if not line or (len(line) < 3 and line in ("`", "``", "~", "~~")):
            raise NeedsMoreText
        if line.startswith(_FENCES):
            self._note_fence(line[:3])
        elif self._ends_the_answer(blank[0], line):
            self.ended = True
            return at
        self._in_line, self._is_first_line = True, False
        return start + 1

    def _ends_the_answer(self, blank: str, line: str) -> bool:
        """Return whether a line is another speaker's; note whether it is one of a list."""
        if self._is_first_line or self._is_code(blank):
            return False
        is_listed = self._in_list or self._last in COLONS
        is_speaker = self._labels.at_start(line) is not None
        self._in_list = is_listed and is_speaker
        return is_speaker and not is_listed

    def _is_code(self, blank: str) -> bool:
        indent = _LINE_BREAK.split(blank)[-1]
        return bool(self._fence) or "\t" in indent or len(indent) >= _CODE_INDENT

    def _note_fence(self, fence: str) -> None:
        if not self._fence:
            self._fence = fence
        elif self._fence == fence:
            self._fence = ""

    def _noted(self, text: str) -> str:
        if visible := text.rstrip(_AT_THE_END_OF_A_LINE):
            self._last = visible[-1]
        return text
