"""Cutting a text at sentences: an answer that must not be longer, and a long one in parts."""

from __future__ import annotations

import re
import unicodedata

# A sentence ends with its mark and what closes after it, if a space follows, or at the line's end.
# Chinese and Japanese put no space after it.
_END = re.compile(
    r"[.!?\u2026]+[\"'\u201d\u2019\u00bb)\]*_`]*(?=\s)"
    r"|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d\u2019\uff09]*"
    r"|(?<=\S)(?=[ \t\r]*\n)"
)
_WORD_END = re.compile(r"(?<=\S)(?=\s)")
_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)


class SentenceLimit:
    """A filter that takes an answer in pieces and ends it with the last sentence that fits.

    A text that is too long ends after a sentence; if its first sentence is too long, after a word.
    What was returned is never taken back: after the first sentence, the text comes by sentences.

    max_chars: the most characters (code points) in all.
    ended: whether the answer is longer. All later text is dropped.
    """

    def __init__(self, max_chars: int) -> None:
        self._room = max_chars
        self._held = ""
        self._in_first_word = True
        self._in_first_sentence = True
        self.ended = False

    def feed(self, piece: str) -> str:
        """Return the text to show after this piece."""
        if self.ended:
            return ""
        self._held += piece
        if len(self._held) > self._room and len(self._held.rstrip()) > self._room:
            self.ended = True
            return self._take(self._last_end())
        if sentence := _last(_END, self._held, len(self._held) - 1):
            self._in_first_sentence = False
            return self._take(sentence)
        return self._take(
            _last(_WORD_END, self._held, len(self._held)) if self._in_first_sentence else 0
        )

    def finish(self) -> str:
        """Return the text that was held back; call it once the model has ended."""
        if self.ended:
            return ""
        # Only white space can be more than fits.
        return self._take(len(self._held) if len(self._held) <= self._room else self._room)

    def _last_end(self) -> int:
        if sentence := _last(_END, self._held, self._room):
            return sentence
        if not self._in_first_sentence:
            return 0
        if word := _last(_WORD_END, self._held, self._room):
            return word
        return _whole(self._held, self._room) if self._in_first_word else 0

    def _take(self, end: int) -> str:
        text, self._held = self._held[:end], self._held[end:]
        self._room -= end
        if end:
            self._in_first_word = False
        return text


def in_parts(text: str, max_chars: int) -> tuple[str, ...]:
    """Return the text in parts of at most `max_chars` characters, which joined are the text.

    A part ends after a sentence, else after a word, else between characters that people see.
    """
    parts, at = [], 0
    while len(text) - at > max_chars:
        rest = text[at : at + max_chars + 1]
        end = (
            _last(_END, rest, max_chars)
            or _last(_WORD_END, rest, max_chars)
            or _whole(rest, max_chars)
        )
        while end < max_chars and rest[end].isspace():  # no part should begin with a space
            end += 1
        parts.append(rest[:end])
        at += end
    return (*parts, text[at:])


def _last(pattern: re.Pattern[str], text: str, most: int) -> int:
    """Return where the last match ends, at `most` or before; 0 if there is none."""
    end = 0
    for found in pattern.finditer(text):
        if found.end() > most:
            break
        end = found.end()
    return end


def _whole(text: str, end: int) -> int:
    """Return `end`, or less so that no accent, skin tone or joined emoji is cut off its letter."""
    at = end
    while 0 < at < len(text) and (_joins(text[at]) or text[at - 1] == _JOINER):
        at -= 1
    return at or end


def _joins(character: str) -> bool:
    return (
        unicodedata.category(character)[0] == "M"
        or character == _JOINER
        or ord(character) in _SKIN_TONES
    )
