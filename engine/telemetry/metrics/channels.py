"""The channels' actors and their mailboxes. No channel is named: there may be any number."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric

from engine.telemetry.look import Look
from engine.telemetry.metrics.families import counter, counters, gauge


def families(look: Look) -> Iterator[Metric]:
    counts, supervisor = look.counts, look.supervisor
    yield gauge("channels_active", "Channels in memory.", supervisor.actors)
    if look.figures is not None:
        yield gauge("channels_known", "Channels ever spoken in.", look.figures.channels)
    yield counter(
        "channel_activations",
        "Channels taken into memory: spoken in, or with commands left by an earlier process.",
        counts.activations,
    )
    yield counters(
        "channel_passivations",
        "Channels that left memory: idle for long enough, one too many (limit), or at the end.",
        ["cause"],
        (([cause], number) for cause, number in counts.passivations.items()),
    )
    yield gauge(
        "completions_active", "Completions outside of conversations.", supervisor.completions
    )
    yield from _mailboxes(look)
    suspended = sum(1 for status, _ in look.channels if status.suspended_s)
    yield gauge("channels_suspended", "Channels that rest after too many crashes.", suspended)
    yield counter(
        "actor_restarts", "Crashes of a channel's actor; each time it came back.", counts.restarts
    )
    yield counter(
        "suspensions", "Channels that crashed too often and were given a rest.", counts.suspensions
    )


def _mailboxes(look: Look) -> Iterator[Metric]:
    depths = [status.waiting for status, _ in look.channels]
    arrived_ms = [s.oldest_ms for s, _ in look.channels if s.oldest_ms is not None]
    age_s = max(0, look.at_ms - min(arrived_ms)) / 1000 if arrived_ms else 0.0
    busy = sum(1 for status, _ in look.channels if status.doing)
    yield gauge("channels_busy", "Channels with a turn in hand.", busy)
    yield gauge(
        "mailbox_depth",
        "Commands that wait behind the turn in hand, in all mailboxes.",
        sum(depths),
    )
    yield gauge(
        "mailbox_depth_max", "Commands that wait in the fullest mailbox.", max(depths, default=0)
    )
    yield gauge(
        "mailbox_oldest_age_seconds", "How long the oldest of these commands has waited.", age_s
    )
