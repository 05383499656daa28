"""Turns and tokens per second, computed from two overviews of a service."""

from __future__ import annotations

from dataclasses import dataclass

from engine.interfaces.top.source import Overview


@dataclass(frozen=True, slots=True)
class Rates:
    """Turns and tokens per second, measured over `over_s` seconds."""

    turns: float
    tokens: float
    over_s: float


def between(before: Overview, now: Overview) -> Rates | None:
    """Return the rates since `before`; None if that is of another process, or not older."""
    if before["pid"] != now["pid"] or before["at_ms"] >= now["at_ms"]:
        return None
    turns, tokens = _turns(now) - _turns(before), _tokens(now) - _tokens(before)
    over_s = (now["at_ms"] - before["at_ms"]) / 1000
    return Rates(max(0, turns) / over_s, max(0, tokens) / over_s, over_s)


def _turns(overview: Overview) -> int:
    turns = overview["turns"]
    total: int = turns["answered"] + turns["failed"] + turns["cancelled"]
    return total


def _tokens(overview: Overview) -> int:
    """Return the tokens of answers; those of prompts do not count."""
    written: int = overview["tokens"]["completion"]
    return written
