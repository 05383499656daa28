"""Retention: erases expired messages in the background, in small batches.

At most once a day, if rows were erased, the database is rewritten: SQLite may leave copies of moved
rows in unused space of its pages. This is the only large step.

A wrong clock must not erase anything, so age is measured in two ways:

- By the wall clock. If it stands more than LEAP_MS past the last sweep (before the first one: past
  the newest row), and this process has not seen that time pass, nothing is erased until
  `rosey-llm retention confirm`. That request is carried out once, also after a restart.
- By the monotonic clock of this process and the ids of rows: what was written since the process
  started is kept for its days by that clock, too.

state       what the sweep does                      a crash leaves
trusted     erases; then stores its time             the old time; the rest is erased later
held        nothing; logs once                       held again: the old time is stored
confirmed   erases as if trusted; stores its time    the request, which is carried out again
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from engine.clock import DAY_MS, now_ms
from engine.config.settings import StorageSettings
from engine.operations.admin_requests import AdminRequestDeferred
from engine.operations.erasure import Eraser
from engine.operations.seen_rows import SeenRows
from storage import admin_requests, erasure, lock, sweeps
from storage.admin_requests import AdminRequest, PlacedRequest
from storage.erasure import Scope
from storage.errors import StorageUnavailable
from storage.examination import undisturbed
from storage.writer.database import Database

log = logging.getLogger("rosey_llm.retention")
REQUEST_KIND = "retention"
POLL_S = 30.0
POLL_RESULT_S = 0.1
SWEEP_EVERY_MS = 60 * 60 * 1000
LEAP_MS = 7 * DAY_MS
HELD = (
    "Nothing is erased by age: %(reason)s. If the clock is right, run `rosey-llm retention"
    " confirm`; otherwise correct it."
)
KEPT_DAYS = 400  # what is remembered of the rows' ages, in case the days are raised by a reload


class Confirmation(NamedTuple):
    """What became of `retention confirm`: a sentence, or why it failed."""

    text: str = ""
    error: str = ""


def ask_to_confirm(database: Path) -> Confirmation:
    """Have the service of `database` erase by the clock as it stands, now or at its next start.

    Raises CannotOpen if the database cannot be used.
    """
    with PlacedRequest.place(database, REQUEST_KIND, {}) as placed:
        while lock.owner(database) is not None:
            result = placed.poll()
            if result is None:
                time.sleep(POLL_RESULT_S)
                continue
            if not result["ok"]:
                return Confirmation(error=result["error"])
            return Confirmation(f"{result['rows']} expired rows of the history were erased.")
    return Confirmation("No service runs; its next start erases what has expired by its clock.")


class Retention:
    """A background task that sweeps once an hour, and soon after a change of the settings.

    held: why nothing is erased until the operator confirms the time; "" if nothing is wrong.
    erased: rows erased since the start.
    wall_ms, monotonic_s: the clocks, which tests replace.
    """

    def __init__(
        self,
        database: Database,
        eraser: Eraser,
        settings: Callable[[], StorageSettings],
        *,
        wall_ms: Callable[[], int] = now_ms,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.held = ""
        self.erased = 0
        self._database = database
        self._eraser = eraser
        self._settings = settings
        self._wall_ms = wall_ms
        self._monotonic_s = monotonic_s
        self._compacted_ms = 0
        self._failing = False
        self._swept_s: float | None = None  # the last sweep, by the monotonic clock
        self._seen = SeenRows(monotonic_s, KEPT_DAYS)

    async def run(self) -> None:
        """Sweep until cancelled."""
        swept_s, swept_for = 0.0, None
        while True:
            settings, now_s = self._settings(), self._monotonic_s()
            if settings != swept_for or (now_s - swept_s) * 1000 >= SWEEP_EVERY_MS:
                try:
                    if await self.sweep():
                        swept_s, swept_for = now_s, settings
                    self._failing = False
                except StorageUnavailable as exc:
                    if not self._failing:
                        log.warning(
                            "Expired messages could not be erased yet: %(error)s",
                            {"event": "retention.failed", "error": exc},
                        )
                    self._failing = True
            await asyncio.sleep(POLL_S)

    async def confirm(self, _request: AdminRequest) -> Mapping[str, Any]:
        """Erase what has expired by the wall clock as it stands, whatever it did before."""
        before = self.erased
        if not await self.sweep(confirmed=True):
            raise AdminRequestDeferred("An erasure comes first.")
        return {"rows": self.erased - before}

    async def sweep(self, *, confirmed: bool = False) -> bool:
        """Erase expired messages; return False if some are left. Raises StorageUnavailable."""
        wall_ms = self._wall_ms()
        self._seen.look(await self._database.write(erasure.newest))
        last_ms = await self._database.write(partial(sweeps.begin, now_ms=wall_ms))
        self._hold("" if confirmed else self._leap(wall_ms, last_ms))
        if self.held:
            return True
        compact = wall_ms - self._compacted_ms >= DAY_MS
        scopes = expired(self._settings(), wall_ms)
        swept = await self._eraser.sweep(
            [
                (scope, self._seen.newest_of_age(days, or_from_before=True))
                for scope, days in scopes
            ],
            compact=compact,
        )
        if swept.rows and compact and swept.is_whole:
            self._compacted_ms = wall_ms
        self.erased += swept.rows
        if swept.rows:
            log.info(
                "%(rows)d expired rows of the history were erased.",
                {"event": "retention.done", "rows": swept.rows},
            )
        if swept.is_whole:
            await self._database.write(partial(sweeps.note, wall_ms=wall_ms))
            self._swept_s = self._monotonic_s()
        return swept.is_whole

    def _leap(self, wall_ms: int, last_ms: int) -> str:
        """Return what is wrong with the wall clock; "" if nothing is."""
        seen_ms = 0.0
        if self._swept_s is not None:
            seen_ms = (self._monotonic_s() - self._swept_s) * 1000
        if wall_ms - last_ms - seen_ms <= LEAP_MS:
            return ""
        return _leapt(wall_ms - last_ms)

    def _hold(self, reason: str) -> None:
        """Note whether nothing is erased; log a change."""
        expires = bool(expired(self._settings(), 0))
        if reason and not self.held and expires:
            log.error(HELD, {"event": "retention.held", "reason": reason})
        self.held = reason


def held_note(settings: StorageSettings, wall_ms: int) -> str:
    """Return why a service would erase nothing by age now; "" if it would, or has nothing to do.

    Reads the database, also beside a running service, and leaves no file behind.
    Raises CannotOpen.
    """
    path = Path(settings.path)
    if not expired(settings, 0) or not path.exists():
        return ""
    with undisturbed(path) as connection:
        last_ms = sweeps.trusted_ms(connection)
        waiting = {request.kind for request in admin_requests.waiting(connection)}
    if last_ms is None or wall_ms - last_ms <= LEAP_MS or REQUEST_KIND in waiting:
        return ""
    return HELD % {"reason": _leapt(wall_ms - last_ms)}


def _leapt(by_ms: int) -> str:
    return (
        f"the clock stands {by_ms / DAY_MS:.0f} days past the last sweep"
        " (or, before the first one, the newest row)"
    )


def expired(settings: StorageSettings, now_ms: int) -> list[tuple[Scope, int]]:
    """Return the scopes of expired messages, each with its days.

    A channel with its own days has its own scope.
    """
    own = settings.retention_days_by_channel
    found = [
        (Scope(channel=channel, before_ms=now_ms - days * DAY_MS), days)
        for channel, days in own.items()
        if days
    ]
    if days := settings.retention_days:
        found.append((Scope(before_ms=now_ms - days * DAY_MS, but=tuple(own)), days))
    return found
