"""What people answer to the questions of `rosey-llm init`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Accept = Callable[[str], None]
# Asks a question with its default until its answer is accepted.
Ask = Callable[[str, str | None, Accept], None]
# Keeps an answer at its place in the configuration; ValueError says what is wrong with it.
Put = Callable[[tuple[str, ...], Any], None]


def whole_number(answer: str) -> int:
    """Return a number. Raise ValueError."""
    try:
        return int(answer)
    except ValueError:
        raise ValueError(f'expected a whole number, got "{answer}"') from None


def is_yes(answer: str) -> bool:
    """Return whether this is a yes. Raise ValueError if it is no no, either."""
    match answer.lower():
        case "y" | "yes":
            return True
        case "n" | "no":
            return False
    raise ValueError(f'expected yes or no, got "{answer}"')
