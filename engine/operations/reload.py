"""Reload: a running service reads its configuration again and applies all of it, or nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.accounting import price_list
from engine.config import config_notes, loading
from engine.config.changes import Changes
from engine.config.settings import Settings
from engine.errors import CannotReload, CannotStart
from engine.operations.admin_requests import AdminRequestRefused
from providers.validation import ValidationError
from storage.admin_requests import AdminRequest, PlacedRequest
from storage.lock import owner

log = logging.getLogger("rosey_llm.reload")
REQUEST_KIND = "reload"
TIMEOUT_S = 60.0
STOPPING = "The service is stopping; the next start reads the configuration."


def ask(database: Path) -> Changes:
    """Have the service of `database` reload, wait for it, and return what has changed.

    Raises CannotReload with what is wrong, CannotOpen if the database cannot be used.
    """
    if owner(database) is None:
        raise CannotReload(
            f"No service runs on {database}. Its next start reads the configuration; "
            "`rosey-llm run` starts it."
        )
    with PlacedRequest.place(database, REQUEST_KIND, {}) as placed:
        result = placed.result(TIMEOUT_S)
    if result is None:
        raise CannotReload("The service stopped, or did not answer. See its log.")
    if not result["ok"]:
        raise CannotReload(result["error"])
    return Changes(**result["changes"])


class Reloader:
    """Reloads the configuration, one reload at a time.

    file: the configuration file; None if the service was started without one. Then `default` is
        read, if it exists by now.
    apply: set by the service that is reloaded; puts all settings into effect, or raises
        ValidationError and changes nothing.
    """

    def __init__(self, file: Path | None, default: Path) -> None:
        self._file = file.absolute() if file else None
        self._default = default.absolute()
        self.apply: Callable[[Settings], Changes]
        self._one_at_a_time = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._closed = False
        # Entered around each reload; tells systemd.
        self.announced: Callable[[], AbstractContextManager[None]] = nullcontext

    def ask(self) -> None:
        """Have `run` reload, now or once it runs. Never waits; the result goes to the log."""
        self._wanted.set()

    def close(self) -> None:
        """Refuse all reloads from now on."""
        self._closed = True

    async def run(self) -> None:
        """Reload after each `ask`, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            with suppress(CannotReload):  # the log has it
                await self.reload()

    async def reload(self) -> Changes:
        """Reload and return what has changed. Raises CannotReload with why nothing was changed."""
        async with self._one_at_a_time:
            try:
                if self._closed:
                    raise CannotReload(STOPPING)
                with self.announced():
                    changes = await self._reload()
            except CannotReload as exc:
                log.error(
                    "The configuration was not reloaded: %(error)s",
                    {"event": "config.reload_failed", "error": exc},
                )
                raise
        log.info(
            "The configuration was reloaded: %(changes)s",
            {"event": "config.reloaded", "changes": "; ".join(changes.lines)},
        )
        return changes

    async def carry_out(self, _: AdminRequest) -> Mapping[str, Any]:
        """`reload` as a handler of admin requests; the function `ask` reads the result."""
        try:
            return {"changes": asdict(await self.reload())}
        except CannotReload as exc:
            raise AdminRequestRefused(str(exc)) from exc

    async def _reload(self) -> Changes:
        try:
            # In a thread: a file may be on a slow disk, and a new kind of provider is imported.
            read = await asyncio.to_thread(loading.load, self._source())
            await asyncio.to_thread(price_list.prepare, read)
            if self._closed:
                raise CannotReload(STOPPING)
            changes = self.apply(read)
        except CannotStart as exc:
            raise CannotReload(str(exc)) from exc
        except ValidationError as exc:
            raise CannotReload(f"{self._source()}: {exc}") from exc
        except CannotReload:
            raise
        except Exception as exc:  # an edge: a third-party provider's constructor may raise anything
            log.exception(
                "The configuration could not be applied.", {"event": "config.apply_crashed"}
            )
            raise CannotReload(f"{self._source()}: {type(exc).__name__}: {exc}") from exc
        for note in config_notes.notes(read):
            log.info(
                "%(path)s: %(note)s.",
                {"event": "config.noted", "path": self._source(), "note": note},
            )
        return changes

    def _source(self) -> Path:
        if self._file is not None:
            return self._file
        if not self._default.exists():
            raise CannotReload(
                f"The service was started without a configuration file, and there is no "
                f"{self._default} now. Create it, or start the service with --config FILE."
            )
        return self._default
