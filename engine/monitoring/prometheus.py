"""The metrics page in Prometheus' text format, rendered on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, Metric, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from engine.engine import Engine
from engine.monitoring import observation
from engine.monitoring.counts import Counts
from engine.monitoring.metrics import channels, commands, nats, process, providers, storage
from engine.monitoring.observation import Observation, TrafficStatistics

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
PARTS = (process, channels, commands, providers, storage, nats)


class ObservationCollector(Collector):
    """A collector that turns an observation into metric families; `render` sets and clears it."""

    def __init__(self) -> None:
        self.observation: Observation | None = None

    def collect(self) -> Iterator[Metric]:
        if self.observation is not None:
            for part in PARTS:
                yield from part.families(self.observation)


class PrometheusMetrics:
    """The metrics of an engine and its process, in their own registry."""

    def __init__(
        self,
        engine: Engine,
        counts: Counts,
        traffic: Callable[[], TrafficStatistics] | None = None,
    ) -> None:
        self._engine = engine
        self._counts = counts
        self._traffic = traffic
        self._registry = CollectorRegistry()
        self._collector = ObservationCollector()
        self._registry.register(self._collector)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    async def render(self) -> bytes:
        """Return the page, of type CONTENT_TYPE, within about a second even if the disk hangs."""
        self._collector.observation = await observation.observe(
            self._engine, self._counts, self._traffic
        )
        try:
            return generate_latest(self._registry)
        finally:
            self._collector.observation = None
