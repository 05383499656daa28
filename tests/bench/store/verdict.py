"""What was to be reached, beside what was."""

from __future__ import annotations


def at_most(figure: float, goal: float, unit: str = "") -> str:
    return _verdict(figure <= goal, f"<= {goal:g}{unit}")


def at_least(figure: float, goal: float, unit: str = "") -> str:
    return _verdict(figure >= goal, f">= {goal:g}{unit}")


def _verdict(is_met: bool, goal: str) -> str:
    return f"goal {goal}: {'met' if is_met else 'MISSED'}"
