"""What is said in a grown history: texts that all differ, of words as common as words are."""

from __future__ import annotations

import random
from itertools import accumulate

BYTES = 200
WORDS = 4000
PHRASES = 2**11
PHRASE_BYTES = 48
TAGS = 50_000
_SYLLABLES = [c + v for c in "bdfgklmnprstvw" for v in ("a", "e", "i", "o", "u", "ai", "en", "or")]
_SCATTER = 2654435761  # Knuth's: neighbours come to lie far apart, and no two in one place


def word(rank: int) -> str:
    """The word that is the `rank`th most common, from 0; the same in each process."""
    return _words[rank]


def tag(number: int) -> str:
    """A word that stands in one of TAGS texts."""
    return f"case{number * _SCATTER % TAGS:05}"


def text(number: int) -> str:
    """The text with this number, below 2**32, of BYTES bytes."""
    scattered = number * _SCATTER & 0xFFFFFFFF
    said = " ".join(
        (
            _phrases[scattered & 2047],
            _phrases[scattered >> 11 & 2047],
            _phrases[scattered >> 21],
            _phrases[number & 2047],
        )
    )
    return f"{said[: BYTES - 10]} {tag(number)}"


def _vocabulary(chance: random.Random) -> list[str]:
    known: dict[str, None] = {}
    while len(known) < WORDS:
        # The common ones are short, as they are in languages.
        syllables = 1 if len(known) < 60 else chance.choice((2, 2, 3))
        known["".join(chance.choices(_SYLLABLES, k=syllables))] = None
    return list(known)


def _phrase(chance: random.Random, weights: list[float]) -> str:
    words: list[str] = []
    while len(" ".join(words)) < PHRASE_BYTES:
        words += chance.choices(_words, cum_weights=weights)
    return " ".join(words)


_chance = random.Random(1)
_words = _vocabulary(_chance)
_weights = list(accumulate(1 / rank for rank in range(1, WORDS + 1)))
_phrases = [_phrase(_chance, _weights) for _ in range(PHRASES)]
