"""How long a test waits for what must come, in seconds, and how it waits for what has no event.

The limit only ends a hang: no machine, however busy, may need as long; pytest's own is longer.
What is waited for must stay as it is once it is reached: hold it still first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

WAIT_S = 120.0
PAUSE_S = 0.01


async def until(reached: Callable[[], bool]) -> None:
    """Wait for a condition that has no event: a line in a log, a byte on a socket."""
    async with asyncio.timeout(WAIT_S):
        while not reached():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(PAUSE_S)


def blocking_until(reached: Callable[[], bool]) -> None:
    """Do what `until` does, in a test without an event loop."""
    deadline_s = time.monotonic() + WAIT_S
    while not reached():
        assert time.monotonic() < deadline_s, "it was never reached"
        time.sleep(PAUSE_S)
