"""How long something takes, in a form that all languages have."""

from __future__ import annotations


def shown(seconds: float) -> str:
    """Return a time by the signs of its unit: "42 s", "5 min", "3 h", "12 d"."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    if seconds < 6000:
        return f"{round(seconds / 60)} min"
    if seconds < 200_000:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86_400)} d"
