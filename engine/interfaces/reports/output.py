"""Prints lines, tables and JSON safely: with colours on a terminal, plain in a pipe.

Text of users and models must not move the cursor, set a title, hide text or imitate a line of the
report: control characters are shown as visible symbols.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import IO, Any

import orjson

# Control characters as control pictures; other invisible formatting characters as their number.
_SHOWN = {
    **{code: chr(0x2400 + code) for code in range(0x20)},
    **{code: f"<U+{code:04X}>" for code in range(0x80, 0xA0)},
    **{
        code: f"<U+{code:04X}>"
        for code in (
            *range(0x2028, 0x202F),
            *range(0x2061, 0x2070),
            *range(0xFFF9, 0xFFFC),
            *range(0xE0000, 0xE0080),  # tags: letters that are not shown
        )
    },
    0x7F: "\u2421",
    ord("\t"): "    ",
}
# Invisible, but part of honest writing: soft hyphens, marks of direction, places to break a line. A
# name must not have them: it could look like another one.
_SHOWN_IN_NAMES = _SHOWN | {
    code: f"<U+{code:04X}>"
    for code in (0x00AD, 0x061C, 0x180E, 0x200B, 0x200E, 0x200F, 0x2060, 0xFEFF)
}
# The flag of England, for example: a black flag and a few tags.
_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")
_ESCAPED = "".join(re.escape(chr(code)) for code in _SHOWN_IN_NAMES if code >= 0x7F)
_ACTING = re.compile(f"[{_ESCAPED}]")
Span = tuple[str, str]
WIDEST_CELL = 60


class Output:
    """A writer of lines to a stream, by default standard output; plain unless on a terminal."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout
        self._console: Any = None
        is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        if self._stream.isatty() and not is_plain:
            from rich.console import Console

            self._console = Console(file=self._stream, highlight=False, markup=False, emoji=False)

    def line(self, *spans: str | Span) -> None:
        """Print one line of texts and (text, style) pairs, neither wrapped nor cut."""
        parts = [(span, "") if isinstance(span, str) else span for span in spans]
        if self._console is None:
            self._stream.write("".join(text for text, _ in parts) + "\n")
            return
        from rich.text import Text

        self._console.print(Text.assemble(*parts), soft_wrap=True)

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print columns, numbers right-aligned; all but the last at most `WIDEST_CELL` wide."""
        cells = [[*(_cut(_cell(value)) for value in row[:-1]), _cell(row[-1])] for row in rows]
        widths = [max(width(cell) for cell in column) for column in zip(heads, *cells, strict=True)]
        right = [
            bool(rows) and all(isinstance(row[i], int | float | None) for row in rows)
            for i in range(len(heads))
        ]
        self.line((_row(heads, widths, right), "bold"))
        for each in cells:
            self.line(_row(each, widths, right))

    def json(self, value: object) -> None:
        """Print one line of JSON."""
        self._stream.write(json(value) + "\n")

    def flush(self) -> None:
        self._stream.flush()


def json(value: object) -> str:
    """Encode as JSON; characters that control a terminal become equivalent \\u escapes."""
    return _ACTING.sub(lambda match: _escaped(match[0]), orjson.dumps(value).decode())


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def safe(text: str) -> list[str]:
    """Return the lines of a text with control characters made visible."""
    return [_safe_line(line) for line in text.replace("\r\n", "\n").split("\n")]


def _safe_line(line: str) -> str:
    shown, end = "", 0
    for flag in _FLAG.finditer(line):
        shown += line[end : flag.start()].translate(_SHOWN) + flag[0]
        end = flag.end()
    return shown + line[end:].translate(_SHOWN)


def visible(text: str | None, nothing: str = "-") -> str:
    """Return a name as one line, invisible characters made visible; `nothing` if it is empty."""
    return text.translate(_SHOWN_IN_NAMES) if text else nothing


def indented(text: str, indent: str) -> list[str]:
    """Return safe lines, all but the first indented: no text can imitate the start of an entry."""
    first, *rest = safe(text)
    return [first, *(indent + line for line in rest)]


def number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: 1 row, 2,000 rows."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def width(text: str) -> int:
    """Return how many cells of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return visible(None if value is None else str(value))


def _cut(cell: str) -> str:
    """Cut a long cell: one long name must not push all columns off the screen."""
    if width(cell) <= WIDEST_CELL:
        return cell
    kept = ""
    for letter in cell:
        if width(kept) + width(letter) >= WIDEST_CELL:
            break
        kept += letter
    return kept + "…"


def _row(cells: Iterable[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = [
        " " * (wide - width(cell)) + cell if is_right else cell + " " * (wide - width(cell))
        for cell, wide, is_right in zip(cells, widths, right, strict=True)
    ]
    return "  ".join(padded).rstrip()
