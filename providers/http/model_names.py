"""Compares a configured model with a server's own list, and finds the name that was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

SHOWN = 5
_DATE = re.compile(r"-\d[\d-]*")


def is_listed(model: str, names: Iterable[str]) -> bool:
    """Return whether `model` is one of `names`, also by a short form that servers accept.

    Such forms leave out the tag "latest" (Ollama) or "models/" (Google), add a variant such as
    ":free" (OpenRouter), or say "-latest" for the newest of several dates (Anthropic).
    """
    wanted, known = _plain(model), {_plain(name) for name in names}
    if wanted in known or wanted.rpartition(":")[0] in known:
        return True
    stem = wanted.removesuffix("-latest")
    return stem != wanted and any(
        name.startswith(stem) and _DATE.fullmatch(name[len(stem) :]) for name in known
    )


def near(model: str, names: Sequence[str]) -> str:
    """Return '; did you mean "gpt-5"?', or "" if no name is similar."""
    by_tail = {_tail(name): name for name in reversed(names)}
    found = difflib.get_close_matches(_tail(model), by_tail, n=1)
    return f'; did you mean "{by_tail[found[0]]}"?' if found else ""


def few(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _plain(name: str) -> str:
    return name.casefold().removeprefix("models/").removesuffix(":latest")


def _tail(name: str) -> str:
    """Return the name without its owner: people leave it out, or write another one."""
    return _plain(name).rpartition("/")[2]
