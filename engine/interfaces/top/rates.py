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


def between(before: Overview | None, now: Overview) -> Rates:
    """Return the rates since `before`, or since the start of the service.

    The latter if there is no `before`, or if it is of another process.
    """
    turns, tokens, over_s = _turns(now), _tokens(now), now["uptime_s"]
    if before is not None and before["pid"] == now["pid"] and before["at_ms"] < now["at_ms"]:
        turns, tokens = turns - _turns(before), tokens - _tokens(before)
        over_s = (now["at_ms"] - before["at_ms"]) / 1000
    over_s = max(over_s, 0.001)
    return Rates(max(0, turns) / over_s, max(0, tokens) / over_s, over_s)


def _turns(overview: Overview) -> int:
    turns = overview["turns"]
    total: int = turns["answered"] + turns["failed"] + turns["cancelled"]
    return total


def _tokens(overview: Overview) -> int:
    """Return the tokens of answers; those of prompts do not count."""
    written: int = overview["tokens"]["completion"]
    return written
