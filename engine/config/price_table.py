"""The table `[prices]`: which of its patterns holds for a model."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def pattern_of(table: Iterable[str], provider: str, model: str) -> str | None:
    """Return the first pattern that matches "model" or "provider/model"; None for none."""
    for pattern in table:
        if fnmatchcase(model, pattern) or fnmatchcase(f"{provider}/{model}", pattern):
            return pattern
    return None
