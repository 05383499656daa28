"""Mentions that must not call anybody: U+2060 behind the @ takes their effect away."""

from __future__ import annotations

import re
from collections.abc import Iterable

# WORD JOINER: it has no width, and no line is broken there.
JOINER = "\u2060"


class Mentions:
    """A list of mentions such as "@everyone", in any letter case; each begins with "@"."""

    def __init__(self, mentions: Iterable[str]) -> None:
        rests = [mention[1:] for mention in dict.fromkeys(mentions)]
        self._longest = 1 + max(map(len, rests))
        # Only the "@" is matched, so that mentions may overlap.
        self._whole = _either("@(?={})", map(re.escape, rests))
        begun = [_beginning(rest) for rest in rests if rest]
        self._begun = _either(r"@{}\Z", begun) if begun else None

    def neutralised(self, text: str) -> str:
        """Return a whole text without their effect."""
        return self._whole.sub(f"@{JOINER}", text) if "@" in text else text

    def split(self, text: str) -> tuple[str, str]:
        """Return what can be shown of a growing text, neutralised, and the rest as it was.

        The rest is shorter than the longest mention: more text may make it one.
        """
        if "@" not in text:
            return text, ""
        end = len(text)
        if self._begun and (begun := self._begun.search(text, max(0, end - self._longest + 1))):
            end = begun.start()
        shown, at = [], 0
        for found in self._whole.finditer(text):
            if found.start() >= end:
                break
            shown += [text[at : found.end()], JOINER]
            at = found.end()
        return "".join([*shown, text[at:end]]), text[end:]


class GrowingMentions:
    """A filter that takes a text in pieces; the returned pieces, joined, are neutralised."""

    __slots__ = ("_held", "_mentions")

    def __init__(self, mentions: Mentions) -> None:
        self._mentions = mentions
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return the text to show after this piece."""
        shown, self._held = self._mentions.split(self._held + piece)
        return shown

    def finish(self) -> str:
        """Return the text that was held back; call it once the text has ended."""
        held, self._held = self._held, ""
        return self._mentions.neutralised(held)


def _either(pattern: str, parts: Iterable[str]) -> re.Pattern[str]:
    return re.compile(pattern.format(f"(?:{'|'.join(parts)})"), re.IGNORECASE)


def _beginning(rest: str) -> str:
    """Return a pattern of every beginning of a text, but not of the whole."""
    pattern = ""
    for character in reversed(rest[:-1]):
        pattern = f"(?:{re.escape(character)}{pattern})?"
    return pattern
