"""Metrics in Prometheus' text format, made when somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, Metric, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from engine.engine import Engine
from engine.telemetry import look
from engine.telemetry.look import Look, TrafficStatistics
from engine.telemetry.metrics import channels, commands, nats, process, providers, storage

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
PARTS = (process, channels, commands, providers, storage, nats)


class LookCollector(Collector):
    """Gives a look as metric families; it is asked only between `render`'s own steps."""

    def __init__(self) -> None:
        self.look: Look | None = None

    def collect(self) -> Iterator[Metric]:
        if self.look is not None:
            for part in PARTS:
                yield from part.families(self.look)


class Metrics:
    """The engine's metrics and its process's, in a registry of their own."""

    def __init__(
        self, engine: Engine, traffic: Callable[[], TrafficStatistics] | None = None
    ) -> None:
        self._engine = engine
        self._traffic = traffic
        self._registry = CollectorRegistry()
        self._collector = LookCollector()
        self._registry.register(self._collector)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    async def render(self) -> bytes:
        """Within about a second, whatever the disk does; CONTENT_TYPE says what it is."""
        self._collector.look = await look.take(self._engine, self._traffic)
        try:
            return generate_latest(self._registry)
        finally:
            self._collector.look = None
