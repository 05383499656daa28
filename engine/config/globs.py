"""Patterns in which "*" stands for any text, also with "/", and "?" for one character."""

from __future__ import annotations

import re

WILDCARDS = frozenset("*?")


def is_exact(pattern: str) -> bool:
    """Return whether the pattern matches only itself."""
    return WILDCARDS.isdisjoint(pattern)


def matches(pattern: str, text: str) -> bool:
    """Return whether the whole text matches; case matters."""
    return re.fullmatch(regex(pattern), text, re.DOTALL) is not None


def regex(pattern: str, one: str = ".") -> str:
    """Return a pattern as a regular expression; `one` is what "?" stands for.

    Each part is searched for once, from the left: an atomic group never goes back, so that no
    text takes long.
    """
    first, *rest = (
        one.join(map(re.escape, part.split("?")))
        for part in re.sub(r"\*+", "*", pattern).split("*")
    )
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>.*?{part})" for part in middle) + ".*" + last
