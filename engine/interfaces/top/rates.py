"""How much is done in a second: the difference between two looks."""

from __future__ import annotations

from dataclasses import dataclass

from engine.interfaces.top.source import Overview


@dataclass(frozen=True, slots=True)
class Rates:
    """In a second, over `over_s` seconds."""

    turns: float
    tokens: float
    over_s: float


def between(before: Overview | None, now: Overview) -> Rates:
    """Since `before`; since the service's start where there is no look before, or at another."""
    turns, tokens, over_s = _turns(now), _tokens(now), now["uptime_s"]
    if before is not None and before["pid"] == now["pid"] and before["at_ms"] < now["at_ms"]:
        turns, tokens = turns - _turns(before), tokens - _tokens(before)
        over_s = (now["at_ms"] - before["at_ms"]) / 1000
    over_s = max(over_s, 0.001)
    return Rates(max(0, turns) / over_s, max(0, tokens) / over_s, over_s)


def _turns(seen: Overview) -> int:
    turns = seen["turns"]
    total: int = turns["answered"] + turns["failed"] + turns["cancelled"]
    return total


def _tokens(seen: Overview) -> int:
    """Of the answers: what the models wrote."""
    written: int = seen["tokens"]["completion"]
    return written
