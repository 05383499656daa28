"""The texts of a large history: all different, with words as frequent as in a language."""

from __future__ import annotations

import random
from itertools import accumulate

BYTES = 200
WORDS = 4000
PHRASES = 2**11
PHRASE_BYTES = 48
TAGS = 50_000
_SYLLABLES = [c + v for c in "bdfgklmnprstvw" for v in ("a", "e", "i", "o", "u", "ai", "en", "or")]
_SCATTER = 2654435761  # Knuth's: spreads neighbours far apart, with no collision


def word(rank: int) -> str:
    """Return the `rank`th most common word, from 0; the same in every process."""
    return _words[rank]


def tag(number: int) -> str:
    """Return a word that is in one of TAGS texts."""
    return f"case{number * _SCATTER % TAGS:05}"


def text(number: int) -> str:
    """Return the text with this number, below 2**32, of BYTES bytes."""
    scattered = number * _SCATTER & 0xFFFFFFFF
    phrases = " ".join(
        (
            _phrases[scattered & 2047],
            _phrases[scattered >> 11 & 2047],
            _phrases[scattered >> 21],
            _phrases[number & 2047],
        )
    )
    return f"{phrases[: BYTES - 10]} {tag(number)}"


def _vocabulary(chance: random.Random) -> list[str]:
    known: dict[str, None] = {}
    while len(known) < WORDS:
        # Common words are short, as in languages.
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
