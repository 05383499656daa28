"""The statistics of the whole engine in the reply to `$SRV.STATS`."""

from __future__ import annotations

from typing import Any

from engine.actors.supervisor import SupervisorStatistics
from engine.monitoring.counts import Counts


def micro_stats(statistics: SupervisorStatistics, counts: Counts) -> dict[str, Any]:
    """Return channels in memory, unfinished commands, turns by outcome, and tokens."""
    turns = dict.fromkeys(("answered", "failed", "cancelled"), 0)
    for (outcome, _), ended in counts.turns.items():
        turns[outcome] += ended.number
    return {
        "active_channels": statistics.actors,
        "waiting": statistics.commands,
        "turns": turns,
        "tokens": sum(tokens.prompt + tokens.completion for _, tokens in counts.tokens.items()),
    }
