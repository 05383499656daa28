"""Words that somebody looks for, in the language of FTS5."""

from __future__ import annotations

import re

PART = re.compile(r'"([^"]*)("?\*?)|([^\s"]+)')


def to_match(words: str) -> str:
    """All of the words, in any order; "a phrase" as it stands, a prefix* with any ending.

    Nothing else means anything: hyphens, colons and such only part words. ValueError where there is
    no word among it.
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
