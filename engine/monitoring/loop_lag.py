"""The measurement of how late the event loop is; answers and pages are delayed by as much."""

from __future__ import annotations

import asyncio

from engine.monitoring.histogram import Histogram

INTERVAL_S = 0.5


async def measure(lag_seconds: Histogram) -> None:
    """Record twice a second by how much a timer is late, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + INTERVAL_S
        await asyncio.sleep(INTERVAL_S)
        lag_seconds.observe(max(0.0, loop.time() - due_s))
