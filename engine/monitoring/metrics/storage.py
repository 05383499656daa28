"""The database: its commits, and what in it still has to be published."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric

from engine.monitoring.metrics.families import counter, gauge, histogram
from engine.monitoring.observation import Observation


def families(observation: Observation) -> Iterator[Metric]:
    commits, figures = observation.counts.commits, observation.figures
    yield gauge(
        "database_writable",
        "1 unless the latest commit failed.",
        float(observation.failing is None),
    )
    yield gauge("database_answers", "1 where it answered this scrape.", float(figures is not None))
    yield histogram("commit_writes", "Writes that went into one commit together.", commits.writes)
    yield histogram("commit_duration_seconds", "How long a commit took.", commits.seconds)
    yield counter("commit_failures", "Commits that failed.", commits.failures)
    if figures is None:
        return
    oldest_ms = figures.oldest_unpublished_ms
    yield gauge(
        "outbox_unpublished",
        "Committed outcomes that nobody has confirmed to have taken, counted up to 100000.",
        figures.unpublished,
    )
    yield gauge(
        "outbox_oldest_age_seconds",
        "How long the oldest of these outcomes has stood there.",
        0.0 if oldest_ms is None else max(0, observation.at_ms - oldest_ms) / 1000,
    )
    yield gauge("database_size_bytes", "The database's file, without its log.", figures.size_bytes)
