"""The process itself, beside what prometheus-client tells of it."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from prometheus_client import Metric

from engine.monitoring.metrics.families import gauges, histogram
from engine.monitoring.observation import Observation
from engine.version import our_version


def families(observation: Observation) -> Iterator[Metric]:
    yield gauges(
        "build_info",
        "1, with the versions as labels.",
        ["version", "python"],
        [([our_version(), platform.python_version()], 1.0)],
    )
    yield histogram(
        "event_loop_lag_seconds",
        "By how much a timer of the event loop came too late.",
        observation.counts.loop_lag_seconds,
    )
