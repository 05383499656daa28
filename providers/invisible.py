"""Characters that show nothing, and the one rule for when a text is empty."""

from __future__ import annotations

import re

# Control characters that are no white space, what Unicode calls "default ignorable" (soft hyphen,
# zero-width and bidirectional characters, Hangul fillers, variation selectors, tags), and three
# more that look like nothing: interlinear annotations, the blank of Braille, a null notehead.
_CHARACTERS = (
    r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_INVISIBLE = re.compile(f"[{_CHARACTERS}]+")
_VISIBLE = re.compile(rf"[^\s{_CHARACTERS}]")


def is_blank(text: str) -> bool:
    """Return whether a text has nothing to see: it is empty, or all white space and invisible."""
    if "!" <= text[:1] <= "~":  # as nearly always, and four times as fast
        return False
    return _VISIBLE.search(text) is None


def without_invisible(text: str) -> str:
    """Return the text without invisible characters; its white space stays."""
    return _INVISIBLE.sub("", text)
