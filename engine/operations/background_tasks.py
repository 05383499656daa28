"""What goes on beside the turns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger("rosey_llm.background")
PAUSE_S = 1.0


class BackgroundTasks:
    """What crashes is begun anew: without it the service would go on, and answer nobody."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, name: str, run: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """From now on, until it returns, or is cancelled, or `end`."""
        task = asyncio.create_task(_keep(name, run), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def end(self) -> None:
        """Nothing of it runs any more on return. May be called twice."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep(name: str, run: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            return await run()
        except Exception:  # the task's edge
            log.exception("What runs in the background (%s) crashed; it begins anew.", name)
        await asyncio.sleep(PAUSE_S)
