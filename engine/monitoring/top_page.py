"""The JSON page for `rosey-llm top`: channels and numbers, without any message content."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.actors.channel_status import ChannelStatus
from engine.config.settings import Settings
from engine.engine import Engine
from engine.monitoring import observation
from engine.monitoring.counts import Counts
from engine.monitoring.observation import Observation, TrafficStatistics
from engine.version import our_version
from providers.chain.link import LinkStatistics

IDLE_SHOWN = 100
BUSY_SHOWN = 400


async def build(
    settings: Settings,
    engine: Engine,
    counts: Counts,
    traffic: Callable[[], TrafficStatistics],
    stage: str,
    started_ms: int,
) -> dict[str, Any]:
    """Return the page; each time's unit is in its key (`_ms`, `_s`)."""
    seen = await observation.observe(engine, counts, traffic, idle=IDLE_SHOWN)
    return {
        "rosey-llm": our_version(),
        "name": settings.name,
        "pid": os.getpid(),
        "database": settings.storage.path,
        "stage": stage,
        "at_ms": seen.at_ms,
        "uptime_s": (seen.at_ms - started_ms) / 1000,
        "memory_bytes": memory_bytes(),
        "channels": _channels(seen),
        "commands": {**seen.counts.commands, "waiting": seen.supervisor.waiting},
        "turns": _turns(seen),
        "tokens": _tokens(seen),
        "cost_usd": sum(cost.micro_usd for _, cost in seen.counts.costs.items()) / 1e6,
        "providers": _providers(seen),
        "storage": _storage(seen),
        "nats": _nats(seen),
    }


def _channels(seen: Observation) -> dict[str, Any]:
    # Channels with the most waiting commands first, then those that only work, then idle ones.
    ranked = sorted(seen.channels, key=lambda each: (-each[0].waiting, each[0].doing is None))
    return {
        "active": seen.supervisor.actors,
        "known": seen.figures.channels if seen.figures else None,
        "completions": seen.supervisor.completions,
        "busy": sum(1 for status, _ in ranked if status.doing),
        "shown": [
            _channel(status, idle_s, seen.at_ms)
            for status, idle_s in ranked[: BUSY_SHOWN + IDLE_SHOWN]
        ],
    }


def _channel(status: ChannelStatus, idle_s: float, at_ms: int) -> dict[str, Any]:
    return {
        "channel": status.channel_id[:200],
        "doing": status.doing,
        "doing_s": _since_s(status.doing_since_ms, at_ms),
        "waiting": status.waiting,
        "oldest_s": _since_s(status.oldest_ms, at_ms),
        "turns": status.turns,
        "suspended_s": status.suspended_s,
        "idle_s": round(idle_s, 3),
    }


def _turns(seen: Observation) -> dict[str, Any]:
    totals = {"answered": 0, "failed": 0, "cancelled": 0}
    codes: dict[str, int] = {}
    for (outcome, code), ended in seen.counts.turns.items():
        totals[outcome] += ended.number
        if outcome == "failed" and ended.number:
            codes[code] = ended.number
    return {**totals, "codes": codes}


def _tokens(seen: Observation) -> dict[str, int]:
    each = [tokens for _, tokens in seen.counts.tokens.items()]
    return {
        "prompt": sum(tokens.prompt for tokens in each),
        "cached": sum(tokens.cached for tokens in each),
        "completion": sum(tokens.completion for tokens in each),
    }


def _providers(seen: Observation) -> list[dict[str, Any]]:
    return [
        {
            "provider": name,
            "circuit": link.circuit.state,
            "rests_s": link.circuit.wait_s,
            "misconfigured": _misconfigured(link),
            "running": link.slots.running,
            "slots": link.slots.limit,
            "waiting": link.slots.waiting,
            "calls": dict(seen.counters[name].calls),
            "retries": seen.counters[name].retries,
            "fallbacks": seen.counters[name].fallbacks,
        }
        for name, link in seen.links.items()
    ]


def _misconfigured(link: LinkStatistics) -> dict[str, str] | None:
    found = link.misconfigured
    return found and {"code": found.code, "problem": found.problem, "remedy": found.remedy}


def _storage(seen: Observation) -> dict[str, Any]:
    figures = seen.figures
    oldest_ms = figures.oldest_unpublished_ms if figures else None
    return {
        "failing": seen.failing,
        "answers": figures is not None,
        "unpublished": figures.unpublished if figures else None,
        "oldest_unpublished_s": _since_s(oldest_ms, seen.at_ms),
        "size_bytes": figures.size_bytes if figures else None,
    }


def _nats(seen: Observation) -> dict[str, Any] | None:
    if seen.traffic is None:
        return None
    connection = seen.traffic.connection
    return {"connected": connection.connected, "reconnects": connection.reconnects}


def _since_s(since_ms: int | None, at_ms: int) -> float | None:
    return None if since_ms is None else max(0, at_ms - since_ms) / 1000


def memory_bytes(statm: Path = Path("/proc/self/statm")) -> int | None:
    """Return the process's resident memory; None if the system has no /proc."""
    try:
        return int(statm.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
