"""Retention: what is older than it may be is erased, in the background and in small steps.

Once a day at most, where something was erased, the database is written anew: that is no small step,
but SQLite may leave copies of rows that it has moved in the unused space of its pages.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from engine.clock import now_ms
from engine.config.settings import StorageSettings
from engine.operations.erasure import Eraser
from storage.erasure import Scope
from storage.errors import StorageUnavailable

log = logging.getLogger("rosey_llm.retention")
DAY_MS = 24 * 60 * 60 * 1000
LOOK_S = 30.0
SWEEP_EVERY_MS = 60 * 60 * 1000


class Retention:
    """Sweeps once an hour, and soon after the settings have changed."""

    def __init__(self, eraser: Eraser, settings: Callable[[], StorageSettings]) -> None:
        self._eraser = eraser
        self._settings = settings
        self._compacted_ms = 0
        self._failing = False

    async def run(self) -> None:
        """Sweep until cancelled."""
        swept_ms, swept_for = 0, None
        while True:
            settings = self._settings()
            if settings != swept_for or now_ms() - swept_ms >= SWEEP_EVERY_MS:
                try:
                    if await self.sweep():
                        swept_ms, swept_for = now_ms(), settings
                    self._failing = False
                except StorageUnavailable as exc:
                    if not self._failing:
                        log.warning("What is too old could not be erased yet: %s", exc)
                    self._failing = True
            await asyncio.sleep(LOOK_S)

    async def sweep(self) -> bool:
        """Erase what is too old now; False where more is left. Raises StorageUnavailable."""
        compact = now_ms() - self._compacted_ms >= DAY_MS
        swept = await self._eraser.sweep(scopes(self._settings(), now_ms()), compact=compact)
        if swept.rows and compact and swept.is_whole:
            self._compacted_ms = now_ms()
        if swept.rows:
            log.info("%d rows of the history were too old, and were erased.", swept.rows)
        return swept.is_whole


def scopes(settings: StorageSettings, now_ms: int) -> list[Scope]:
    """What is too old; a channel with days of its own is no part of all the others."""
    own = settings.retention_days_by_channel
    found = [
        Scope(channel=channel, before_ms=now_ms - days * DAY_MS)
        for channel, days in own.items()
        if days
    ]
    if settings.retention_days:
        before_ms = now_ms - settings.retention_days * DAY_MS
        found.append(Scope(before_ms=before_ms, but=tuple(own)))
    return found
