"""Copies of the database that the service makes by itself, verified, of which it keeps the newest.

A child process makes each copy with `rosey-llm backup`: to verify a long history takes a processor
for seconds, and the answers must not wait.

state      what comes next                                   a crash leaves
due        the child copies to a hidden name, and verifies   a hidden file, until the next copy
copied     the copy got its name; older ones are deleted     one copy too many, until the next one
wrong      verifying found a changed row: it is deleted      a copy that `verify` refuses
failed     the reason is logged once; again after RETRY_S    the older copies, untouched

The age of the newest copy is read from its name at the start. Then the monotonic clock counts, so a
leap of the wall clock neither makes copies in a row nor stops them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from engine.clock import now_ms
from engine.config.settings import StorageSettings
from storage import backup_folder

log = logging.getLogger("rosey_llm.backups")
POLL_S = 30.0
RETRY_S = 600.0
HOUR_S = 3600.0
NICENESS = 10
# Not `-m engine.cli`: the folder of a bot may have an `engine` of its own.
_ROOT = str(Path(__file__).resolve().parents[2])
_COMMAND = f"import sys; sys.path.insert(0, {_ROOT!r}); from engine.cli import main; main()"


class Backups:
    """A background task that copies the database every `backup_every_h` hours.

    failing: why the last copy could not be made or is not as it should be; "" if nothing is wrong.
    newest_ms: when the newest good copy was begun; None if there is none.
    wall_ms, monotonic_s: the clocks, which tests replace.
    """

    def __init__(
        self,
        database: Path,
        settings: Callable[[], StorageSettings],
        *,
        wall_ms: Callable[[], int] = now_ms,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failing = ""
        self.newest_ms: int | None = None
        self._database = database
        self._settings = settings
        self._wall_ms = wall_ms
        self._monotonic_s = monotonic_s
        self._reason = ""  # as `failing`, without the name of the copy, which is always another one
        self._made_s: float | None = None
        self._failed_s: float | None = None

    @property
    def every_s(self) -> float:
        """The seconds between two copies; 0 if none are made."""
        return self._settings().backup_every_h * HOUR_S

    async def run(self) -> None:
        """Make copies when they are due, until cancelled."""
        self.look()
        while True:
            if self.is_due():
                await self.make()
            await asyncio.sleep(POLL_S)

    def is_due(self) -> bool:
        every_s, now_s = self.every_s, self._monotonic_s()
        if not every_s:
            return False
        if self._failed_s is not None:
            return now_s - self._failed_s >= min(RETRY_S, every_s)
        if self._made_s is not None:
            return now_s - self._made_s >= every_s
        if self.newest_ms is None:
            return True
        age_s = (self._wall_ms() - self.newest_ms) / 1000
        return not 0 <= age_s < every_s

    async def make(self) -> None:
        """Make a copy, and delete the oldest ones."""
        began_ms, began_s = self._wall_ms(), self._monotonic_s()
        file = backup_folder.new_name(self._database, began_ms)
        try:
            file.parent.mkdir(mode=0o700, exist_ok=True)
            backup_folder.clear(self._database)  # before it: it may have the room of this copy
            problem = await self._copy(file)
            if problem:
                file.unlink(missing_ok=True)
            else:
                backup_folder.prune(self._database, self._settings().backup_keep, file)
        except OSError as exc:
            problem = f"{exc.strerror} ({exc.filename})"
        if problem:
            reason = problem.replace(file.name, "")
            if reason != self._reason:
                log.error(
                    "The database could not be backed up: %(error)s",
                    {"event": "backup.failed", "error": problem},
                )
            self._reason = reason
            self.failing, self._failed_s = problem, self._monotonic_s()
            return
        if self.failing:
            log.warning("The database can be backed up again.", {"event": "backup.recovered"})
        log.info("The database was backed up to %(path)s.", {"event": "backup.made", "path": file})
        self.failing, self._reason, self._failed_s = "", "", None
        self.newest_ms, self._made_s = began_ms, began_s

    async def _copy(self, file: Path) -> str:
        """Have a process of its own copy and verify; return why that failed, or ""."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", _COMMAND, "backup", str(file)),
            *("--database", str(self._database.resolve()), "--force"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
            _, said = await process.communicate()
        except asyncio.CancelledError:
            await self._stop(process)
            raise
        if process.returncode == 0:
            return ""
        words = said.decode(errors="replace").strip().splitlines()
        return " ".join(words[-3:]) or f"its process ended with code {process.returncode}"

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        """End the process at once, and delete its copy: SQLite hears no milder signal."""
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        with contextlib.suppress(OSError):
            backup_folder.clear(self._database)

    def look(self) -> None:
        """Learn from its name when the newest copy was made."""
        with contextlib.suppress(OSError):  # the first copy will say so
            if found := backup_folder.backups(self._database):
                self.newest_ms = found[-1].made_ms
