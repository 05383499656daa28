"""Deletes outcomes after `dedupe_days`; a request that is sent again later is a new one.

A wrong clock must not delete them early, or requests would be answered twice. So an outcome goes
only if the wall clock says that it is old enough, and:

- if this process saw it being stored: once that is so many days ago by the monotonic clock;
- if it is older than this process: at once, unless the wall clock has leapt since the last time
  that is known from the database. Then once this process has run for so many days.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

from engine.clock import DAY_MS, now_ms
from engine.config.settings import StorageSettings
from engine.operations.seen_rows import DAY_S, SeenRows
from storage import outbox, sweeps
from storage.errors import StorageUnavailable
from storage.writer.database import Database

log = logging.getLogger("rosey_llm.retention")
INTERVAL_S = 60.0
NEXT_STEP_S = 0.1
LOOKS = 288  # in `dedupe_days`: every 10 minutes for 2 days
KEPT_DAYS = 30


class OutboxPruner:
    """A background task that deletes old outcomes in small steps.

    wall_ms, monotonic_s: the clocks, which tests replace.
    """

    def __init__(
        self,
        database: Database,
        settings: Callable[[], StorageSettings],
        *,
        wall_ms: Callable[[], int] = now_ms,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._settings = settings
        self._wall_ms = wall_ms
        self._monotonic_s = monotonic_s
        self._seen = SeenRows(monotonic_s, KEPT_DAYS)
        self._looked_s: float | None = None
        # (the last time known from the database, by the wall clock; the monotonic clock then).
        self._start: tuple[int, float] | None = None
        self._doubts = False

    async def run(self) -> None:
        """Delete old outcomes until cancelled."""
        while True:
            try:
                pruned = await self.prune()
            except StorageUnavailable:
                pruned = 0
            await asyncio.sleep(NEXT_STEP_S if pruned else INTERVAL_S)

    async def prune(self) -> int:
        """Delete some old outcomes; return how many. Raises StorageUnavailable."""
        days, wall_ms = self._settings().dedupe_days, self._wall_ms()
        leapt_ms = wall_ms - await self._expected_ms(wall_ms)
        await self._look(days)
        doubts = days > 0 and leapt_ms > days * DAY_MS / 2
        if doubts and not self._doubts:
            log.info(
                "Outcomes from before the start stay until the service has run for %(days)d days:"
                " the clock stands %(leapt_days).0f days past the last time in the database.",
                {"event": "outbox.kept", "days": days, "leapt_days": leapt_ms / DAY_MS},
            )
        self._doubts = doubts
        upto = self._seen.newest_of_age(days, or_from_before=not doubts)
        prune = partial(outbox.prune, before_ms=wall_ms - days * DAY_MS, upto=upto)
        return await self._database.write(prune)

    async def _expected_ms(self, wall_ms: int) -> int:
        """Return what the wall clock would say, had it not leapt since the last known time."""
        if self._start is None:
            last_ms = await self._database.write(sweeps.trusted_ms)
            self._start = wall_ms if last_ms is None else last_ms, self._monotonic_s()
        last_ms, start_s = self._start
        return last_ms + round((self._monotonic_s() - start_s) * 1000)

    async def _look(self, days: int) -> None:
        now_s = self._monotonic_s()
        if self._looked_s is None or now_s - self._looked_s >= days * DAY_S / LOOKS:
            self._looked_s = now_s
            self._seen.look(await self._database.write(outbox.newest))
