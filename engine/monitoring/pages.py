"""The HTTP pages of a service: health, metrics, and the data of `rosey-llm top`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from engine.clock import now_ms
from engine.config.settings import Settings
from engine.engine import Engine
from engine.monitoring import address, loop_lag, top_page
from engine.monitoring.cached import Cached
from engine.monitoring.counts import Counts
from engine.monitoring.health import Health, HealthPart, Stage
from engine.monitoring.http import HttpPage, HttpServer
from engine.monitoring.observation import TrafficStatistics

if TYPE_CHECKING:
    from engine.monitoring.prometheus import PrometheusMetrics

log = logging.getLogger("rosey_llm.http")
KEPT_S = 0.2
INDEX = b"""<!doctype html><title>rosey-llm</title><h1>rosey-llm</h1><ul>
<li><a href="/healthz">/healthz</a>: 200 while the process lives
<li><a href="/readyz">/readyz</a>: 200 if the service can take messages, else 503; it says why
<li><a href="/metrics">/metrics</a>: numbers for Prometheus
<li><a href="/top">/top</a>: what <code>rosey-llm top</code> shows, as JSON
</ul>
"""


class MonitoringPages:
    """The HTTP pages of one service. Start them early and stop them last; neither raises.

    url: the address of the pages; None if they are not served.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        counts: Counts,
        nats: Callable[[], HealthPart],
        traffic: Callable[[], TrafficStatistics],
    ) -> None:
        self._settings = settings
        self._database = Path(settings.storage.path)
        self._engine = engine
        self._counts = counts
        self._traffic = traffic
        self._health = Health(engine, nats)
        self._metrics: PrometheusMetrics | None = None
        self._scraped = Cached(self._render, KEPT_S)
        self._overview = Cached(self._build_overview, KEPT_S)
        self._started_ms = now_ms()
        self._measuring: asyncio.Task[None] | None = None
        pages = {
            "/": self._index,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._scraped.get,
            "/top": self._top,
        }
        self._server = HttpServer(settings.http, pages) if settings.http.enabled else None

    @property
    def url(self) -> str | None:
        return self._server.url if self._server is not None else None

    def enter(self, stage: Stage) -> None:
        self._health.stage = stage

    async def start(self) -> None:
        """Serve the pages, and write their address into a file beside the database.

        Call it once this process has the database's lock.
        """
        self._measuring = asyncio.create_task(
            loop_lag.measure(self._counts.loop_lag_seconds), name="event-loop lag"
        )
        if self._server is None:
            return
        await self._server.start()
        if self.url is not None:
            try:
                address.write(self._database, self.url)
            except OSError as exc:
                log.warning(
                    "Cannot write the address file: %(error)s. Run `rosey-llm top --url %(url)s`.",
                    {"event": "http.address_failed", "error": exc, "url": self.url},
                )

    async def stop(self) -> None:
        if self._measuring is not None:
            self._measuring.cancel()
            await asyncio.wait({self._measuring})
        if self._server is not None:
            if self.url is not None:
                address.remove(self._database, self.url)
            await self._server.stop()

    async def _index(self) -> HttpPage:
        return HttpPage(INDEX, "text/html; charset=utf-8")

    async def _healthz(self) -> HttpPage:
        """Return a page that shows, by being served, that process and event loop work."""
        return HttpPage(orjson.dumps({"alive": True, "stage": self._health.stage}))

    async def _readyz(self) -> HttpPage:
        found = await self._health.ready()
        return HttpPage(orjson.dumps(found), status=200 if found["ready"] else 503)

    async def _render(self) -> HttpPage:
        # Imported at the first request: it would make each start slower.
        from engine.monitoring.prometheus import CONTENT_TYPE, PrometheusMetrics

        if self._metrics is None:
            self._metrics = PrometheusMetrics(self._engine, self._counts, self._traffic)
        return HttpPage(await self._metrics.render(), CONTENT_TYPE)

    async def _top(self) -> HttpPage:
        return HttpPage(await self._overview.get())

    async def _build_overview(self) -> bytes:
        return orjson.dumps(
            await top_page.build(
                self._settings,
                self._engine,
                self._counts,
                self._traffic,
                self._health.stage,
                self._started_ms,
            )
        )
