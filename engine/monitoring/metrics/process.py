"""The metrics of the process that prometheus-client does not have: versions and event loop lag."""

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
        "Always 1; its labels are the versions.",
        ["version", "python"],
        [([our_version(), platform.python_version()], 1.0)],
    )
    yield histogram(
        "event_loop_lag_seconds",
        "By how much timers of the event loop are late.",
        observation.counts.loop_lag_seconds,
    )
