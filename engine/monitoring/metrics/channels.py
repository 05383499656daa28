"""The metrics of channels and mailboxes; no label names a channel, as there may be many."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric

from engine.monitoring.metrics.families import counter, counters, gauge
from engine.monitoring.observation import Observation


def families(observation: Observation) -> Iterator[Metric]:
    counts, supervisor = observation.counts, observation.supervisor
    yield gauge("channels_active", "Channels in memory.", supervisor.actors)
    if observation.figures is not None:
        yield gauge(
            "channels_known", "Channels that ever had a message.", observation.figures.channels
        )
    yield counter(
        "channel_activations",
        "Channels loaded into memory: for a message, or for commands left by an earlier process.",
        counts.activations,
    )
    yield counters(
        "channel_passivations",
        "Channels removed from memory: idle for long, too many in memory (limit), or at the end"
        " (drain).",
        ["cause"],
        (([cause], number) for cause, number in counts.passivations.items()),
    )
    yield gauge("completions_active", "Raw completions in progress.", supervisor.completions)
    yield from _mailboxes(observation)
    suspended = sum(1 for status, _ in observation.channels if status.suspended_s)
    yield gauge("channels_suspended", "Channels suspended after too many crashes.", suspended)
    yield counter(
        "actor_restarts", "Crashes of a channel's actor; it restarts after each.", counts.restarts
    )
    yield counter(
        "suspensions", "Suspensions of channels that crashed too often.", counts.suspensions
    )


def _mailboxes(observation: Observation) -> Iterator[Metric]:
    depths = [status.waiting for status, _ in observation.channels]
    arrived_ms = [s.oldest_ms for s, _ in observation.channels if s.oldest_ms is not None]
    age_s = max(0, observation.at_ms - min(arrived_ms)) / 1000 if arrived_ms else 0.0
    busy = sum(1 for status, _ in observation.channels if status.doing)
    yield gauge("channels_busy", "Channels with a running turn.", busy)
    yield gauge(
        "mailbox_depth",
        "Commands that wait behind a running turn, in all mailboxes.",
        sum(depths),
    )
    yield gauge(
        "mailbox_depth_max", "Commands that wait in the fullest mailbox.", max(depths, default=0)
    )
    yield gauge(
        "mailbox_oldest_age_seconds",
        "How long the oldest command in the mailboxes has waited.",
        age_s,
    )
