"""How late the event loop is: the time that every answer, and the health page, waits as well."""

from __future__ import annotations

import asyncio

from engine.monitoring.histogram import Histogram

INTERVAL_S = 0.5


async def measure(lag_seconds: Histogram) -> None:
    """Note twice a second by how much a timer comes too late, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + INTERVAL_S
        await asyncio.sleep(INTERVAL_S)
        lag_seconds.observe(max(0.0, loop.time() - due_s))
