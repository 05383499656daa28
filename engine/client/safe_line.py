"""`safe_line`: a text as one line that no other bot takes for a command."""

from __future__ import annotations

import unicodedata

MARK = "> "
_CONTROL = ("Cc", "Zl", "Zp", "Cs")
_UNSEEN = (*_CONTROL, "Cf", "Zs")


def safe_line(text: str, first: str = "/!.") -> str:
    """Return the text as one line that begins with none of the characters of `first`.

    Line breaks and control characters become spaces. A line that would begin with one of `first`,
    also behind spaces and invisible characters, gets "> " in front: two bytes more, so split a text
    with a limit that is two lower. Raise ValueError if `first` has ">".
    """
    if MARK[0] in first:
        raise ValueError(f'first: expected characters other than ">", got {first!r}')
    shown = "".join(" " if unicodedata.category(each) in _CONTROL else each for each in text)
    start = next((at for at, each in enumerate(shown) if _is_seen(each)), len(shown))
    line = shown[start:].rstrip()
    return MARK + line if line[:1] and line[0] in first else line


def _is_seen(character: str) -> bool:
    return unicodedata.category(character) not in _UNSEEN
