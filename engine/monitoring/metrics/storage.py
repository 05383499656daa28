"""The metrics of the database: commits, size, and outcomes that are not yet published."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric

from engine.monitoring.metrics.families import counter, gauge, histogram
from engine.monitoring.observation import Observation
from engine.operations.backups import Backups


def families(observation: Observation) -> Iterator[Metric]:
    commits, figures = observation.counts.commits, observation.figures
    yield gauge(
        "database_writable",
        "0 if the latest commit failed, otherwise 1.",
        float(observation.failing is None),
    )
    yield gauge(
        "database_answers",
        "1 if the database answered this scrape, otherwise 0.",
        float(figures is not None),
    )
    yield gauge(
        "turns_held",
        "Turns that wait until the database can be written; meanwhile every message gets busy.",
        observation.supervisor.held,
    )
    yield gauge(
        "retention_held",
        "1 if nothing is erased by age until the clock is confirmed, otherwise 0.",
        float(bool(observation.retention_held)),
    )
    yield from _backups(observation.backups)
    yield histogram("commit_writes", "Number of writes in a commit.", commits.writes)
    yield histogram("commit_duration_seconds", "Duration of a commit.", commits.seconds)
    yield counter("commit_failures", "Commits that failed.", commits.failures)
    if figures is None:
        return
    oldest_ms = figures.oldest_unpublished_ms
    yield gauge(
        "outbox_unpublished",
        "Committed outcomes that are not yet confirmed as published, counted up to 100000.",
        figures.unpublished,
    )
    yield gauge(
        "outbox_oldest_age_seconds",
        "Age of the oldest outcome that is not yet confirmed as published.",
        0.0 if oldest_ms is None else max(0, observation.at_ms - oldest_ms) / 1000,
    )
    yield gauge(
        "database_size_bytes", "Size of the database file, without its WAL.", figures.size_bytes
    )


def _backups(backups: Backups | None) -> Iterator[Metric]:
    yield gauge(
        "backup_interval_seconds",
        "How often the service copies its database; 0 if it does not.",
        backups.every_s if backups else 0.0,
    )
    yield gauge(
        "backup_failing",
        "1 if the last copy of the database could not be made, otherwise 0.",
        float(bool(backups and backups.failing)),
    )
    yield gauge(
        "backup_timestamp_seconds",
        "When the newest good copy of the database was begun, in seconds since 1970; 0 if never.",
        (backups.newest_ms or 0) / 1000 if backups else 0.0,
    )
