"""Carries out admin requests of other processes, or places one and waits for its result."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

from engine.clock import now_ms
from storage import admin_requests, lock
from storage.admin_requests import AdminRequest, PlacedRequest
from storage.errors import DatabaseInUse, StorageUnavailable
from storage.writer.database import Database

log = logging.getLogger("rosey_llm.orders")
POLL_S = 0.25
PROGRESS_POLL_S = 0.1
KEEP_MS = 60 * 60 * 1000
# A database without an owner for this long has no service that is just restarting.
GRACE_S = 10.0
Handler = Callable[[AdminRequest], Awaitable[Mapping[str, Any]]]
HandlerFactory = Callable[[Database], AbstractAsyncContextManager[Handler]]
ReportProgress = Callable[[Mapping[str, Any]], object]


class AdminRequestRefused(Exception):
    """The request was refused; the text says why and what to do."""


class AdminRequestDeferred(Exception):
    """The request cannot be carried out now. It stays; later requests do not wait for it."""


class AdminRequests:
    """A worker that carries out one request after another with the handler of its kind.

    A handler's return value becomes the result, with `ok` true. If the handler raises
    AdminRequestRefused, `ok` is false and `error` says why. Handlers must be idempotent:
    they are called again after a crash or after AdminRequestDeferred.
    """

    def __init__(self, database: Database, handlers: Mapping[str, Handler]) -> None:
        self._database = database
        self._handlers = handlers

    async def run(self) -> None:
        """Look for requests until cancelled."""
        while True:
            try:
                for request in await self._database.write(admin_requests.waiting):
                    await self.carry_out(request)
            except StorageUnavailable as exc:
                log.debug(
                    "Admin requests have to wait: %(error)s",
                    {"event": "admin.postponed", "error": exc},
                )
            await asyncio.sleep(POLL_S)

    async def catch_up(self, kind: str) -> None:
        """Carry out the waiting requests of this kind once, if that is possible now."""
        try:
            for request in await self._database.write(admin_requests.waiting):
                if request.kind == kind:
                    await self.carry_out(request)
        except StorageUnavailable as exc:
            log.warning(
                "The requests of kind %(kind)r have to wait: %(error)s",
                {"event": "admin.postponed", "kind": kind, "error": exc},
            )

    async def carry_out(self, request: AdminRequest) -> None:
        try:
            result = await self._result(request)
        except AdminRequestDeferred as exc:
            log.debug(
                "The request %(kind)r has to wait: %(error)s",
                {"event": "admin.postponed", "kind": request.kind, "error": exc},
            )
            return
        now = now_ms()
        finish = partial(admin_requests.finish, request_id=request.id, result=result, now_ms=now)
        await self._database.write(finish)
        await self._database.write(partial(admin_requests.prune, before_ms=now - KEEP_MS))

    async def _result(self, request: AdminRequest) -> Mapping[str, Any]:
        handler = self._handlers.get(request.kind)
        if handler is None:
            error = (
                f'This service cannot carry out the request "{request.kind}": it is another '
                "version of rosey-llm, or part of another program."
            )
            return {"ok": False, "error": error}
        try:
            return {"ok": True, **await handler(request)}
        except AdminRequestRefused as exc:
            return {"ok": False, "error": str(exc)}
        except (StorageUnavailable, AdminRequestDeferred):
            raise  # the request stays, and will be tried again
        except Exception:  # the task's edge: later requests must still be carried out
            log.exception(
                "The request %(kind)r failed.", {"event": "admin.failed", "kind": request.kind}
            )
            return {"ok": False, "error": "The service failed. See its log for the traceback."}


def wait_until_done(
    database: Path,
    kind: str,
    body: Mapping[str, Any],
    handler: HandlerFactory,
    report: ReportProgress,
) -> Mapping[str, Any]:
    """Place a request and return its result, however long that takes.

    The service that has the database carries it out; without a service, `handler` does so here.
    An interrupted caller may call again: the request stays until it is done. Raises CannotOpen if
    the database cannot be used.

    report: called several times a second with the request's body, which says what is left to do.
    """
    request_id, grace_s = None, 0.0
    while True:
        with PlacedRequest.place(database, kind, body, known=request_id) as placed:
            request_id = placed.request_id
            result = _wait(database, placed, report, grace_s)
        if result is not None:
            return result
        asyncio.run(_carry_out_here(database, kind, request_id, handler, report))


def _wait(
    database: Path, placed: PlacedRequest, report: ReportProgress, grace_s: float
) -> Mapping[str, Any] | None:
    """Return the result; None if the database has had no owner for `grace_s`."""
    seen_s = time.monotonic()
    while (result := placed.poll()) is None:
        report(placed.progress())
        if lock.owner(database) is not None:
            seen_s, grace_s = time.monotonic(), GRACE_S
        elif time.monotonic() - seen_s >= grace_s:
            break
        time.sleep(PROGRESS_POLL_S)
    return result


async def _carry_out_here(
    path: Path, kind: str, request_id: int, handler: HandlerFactory, report: ReportProgress
) -> None:
    """Carry out the request in this process, unless the database has an owner."""
    database = Database(path, command=f"history {kind}")
    try:
        await database.open()
    except DatabaseInUse:
        return
    progress = partial(admin_requests.progress, request_id=request_id)
    try:
        async with handler(database) as handle:
            working = asyncio.create_task(AdminRequests(database, {kind: handle}).catch_up(kind))
            while not working.done():
                await asyncio.wait({working}, timeout=PROGRESS_POLL_S)
                report(await database.write(progress))
            await working
    finally:
        await database.close()
