"""Retention: erases expired messages in the background, in small batches.

At most once a day, if rows were erased, the database is rewritten: SQLite may leave copies of moved
rows in unused space of its pages. This is the only large step.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from engine.clock import DAY_MS, now_ms
from engine.config.settings import StorageSettings
from engine.operations.erasure import Eraser
from storage.erasure import Scope
from storage.errors import StorageUnavailable

log = logging.getLogger("rosey_llm.retention")
POLL_S = 30.0
SWEEP_EVERY_MS = 60 * 60 * 1000


class Retention:
    """A background task that sweeps once an hour, and soon after a change of the settings."""

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
                        log.warning("Expired messages could not be erased yet: %s", exc)
                    self._failing = True
            await asyncio.sleep(POLL_S)

    async def sweep(self) -> bool:
        """Erase expired messages; return False if some are left. Raises StorageUnavailable."""
        compact = now_ms() - self._compacted_ms >= DAY_MS
        swept = await self._eraser.sweep(scopes(self._settings(), now_ms()), compact=compact)
        if swept.rows and compact and swept.is_whole:
            self._compacted_ms = now_ms()
        if swept.rows:
            log.info("%d expired rows of the history were erased.", swept.rows)
        return swept.is_whole


def scopes(settings: StorageSettings, now_ms: int) -> list[Scope]:
    """Return the scopes of expired messages; a channel with its own days has its own scope."""
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
