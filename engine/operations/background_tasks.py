"""Background tasks that are started again after a crash."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger("rosey_llm.background")
PAUSE_S = 1.0


class BackgroundTasks:
    """The tasks that run beside the turns.

    A crashed task is started again: without it the service would run on and answer no requests.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, name: str, run: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run it until it returns, is cancelled, or `end` is called."""
        task = asyncio.create_task(_run_again_after_crashes(name, run), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def end(self) -> None:
        """Cancel all tasks and wait for their end. May be called twice."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run_again_after_crashes(name: str, run: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            return await run()
        except Exception:  # the task's edge
            log.exception(
                "The background task (%(task)s) crashed and is started again.",
                {"event": "background.crashed", "task": name},
            )
        await asyncio.sleep(PAUSE_S)
