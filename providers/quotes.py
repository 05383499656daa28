"""Leaves out of a text what it quotes of a message."""

from __future__ import annotations

import re


def without_quote(text: str, said: str) -> str:
    """Return the text with `[...]` wherever it quotes all of `said`."""
    said = said.strip()
    if not 0 < len(said) <= len(text):
        return text
    return re.sub(rf"(?<!\w){re.escape(said)}(?!\w)", "[...]", text)
