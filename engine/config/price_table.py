"""The table `[prices]`: which of its patterns holds for a model."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

T = TypeVar("T")


def price_of(table: Mapping[str, T], provider: str, model: str) -> T | None:
    """Return the first entry whose pattern matches "model" or "provider/model"; None for none."""
    for pattern, price in table.items():
        if fnmatchcase(model, pattern) or fnmatchcase(f"{provider}/{model}", pattern):
            return price
    return None
