"""Translates the words of a search into the query language of FTS5."""

from __future__ import annotations

import re

PART = re.compile(r'"([^"]*)("?\*?)|([^\s"]+)')


def to_match(words: str) -> str:
    """Return a query for all of the words, in any order.

    "A phrase" must occur as it is written, a prefix* may have any ending. Other characters, such as
    hyphens and colons, only separate words. Raises ValueError if there is no word.
    """
    parts = []
    for phrase, end, word in PART.findall(words.replace("\0", " ")):
        is_prefix = (end or word).endswith("*")
        text = phrase or word.rstrip("*")
        if any(c.isalnum() for c in text):
            parts.append(f'"{text}"' + ("*" if is_prefix else ""))
    if not parts:
        raise ValueError("there is no word in it")
    return " ".join(parts)
