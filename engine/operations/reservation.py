"""The lock of the database at a start: a service that has it and is ending is waited for."""

from __future__ import annotations

import asyncio
import logging

from engine.errors import StartLater
from storage.errors import DatabaseInUse
from storage.writer.database import Database

log = logging.getLogger("rosey_llm.app")
PAUSE_S = 0.2


async def reserve(database: Database, wait_s: float) -> None:
    """Lock the database; wait up to `wait_s` for a service that is ending.

    Raises DatabaseInUse if the one that has it runs, and StartLater if it has not ended by then.
    """
    clock = asyncio.get_running_loop().time
    deadline_s: float | None = None
    while True:
        try:
            await database.reserve()
        except DatabaseInUse as exc:
            if not exc.is_ending:
                raise
            if deadline_s is None:
                deadline_s = clock() + wait_s
                log.warning(
                    "Waiting up to %(wait_s)g s: %(error)s",
                    {"event": "start.postponed", "wait_s": wait_s, "error": exc},
                )
            elif clock() > deadline_s:
                raise StartLater(str(exc)) from exc
        else:
            return
        await asyncio.sleep(PAUSE_S)
