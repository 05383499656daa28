"""Carries out the requests of other processes (`storage/admin_requests.py`), or waits for one."""

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
# When a database has no owner for so long, no service is about to start again on it.
GRACE_S = 10.0
Handler = Callable[[AdminRequest], Awaitable[Mapping[str, Any]]]
HandlerFactory = Callable[[Database], AbstractAsyncContextManager[Handler]]
ReportProgress = Callable[[Mapping[str, Any]], object]


class AdminRequestRefused(Exception):
    """A request that is not carried out; the text says why and what to do."""


class AdminRequestDeferred(Exception):
    """A request that cannot be carried out now: it stays, and later ones do not wait for it."""


class AdminRequests:
    """Carries out one request after the other, by the handler of its kind.

    What a handler returns becomes the result, with `ok` true; if it raises AdminRequestRefused,
    `ok` is false and `error` says why. Handlers must be idempotent: they are called again after a
    crash or after AdminRequestDeferred.
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
            except StorageUnavailable:
                log.debug("No requests are taken while the database cannot be written.")
            await asyncio.sleep(POLL_S)

    async def catch_up(self, kind: str) -> None:
        """Carry out the waiting requests of this kind once, if that is possible now."""
        try:
            for request in await self._database.write(admin_requests.waiting):
                if request.kind == kind:
                    await self.carry_out(request)
        except StorageUnavailable as exc:
            log.warning("A request has to wait: %s", exc)

    async def carry_out(self, request: AdminRequest) -> None:
        try:
            result = await self._result(request)
        except AdminRequestDeferred as exc:
            log.debug("The request %r has to wait: %s", request.kind, exc)
            return
        now = now_ms()
        finish = partial(admin_requests.finish, request_id=request.id, result=result, now_ms=now)
        await self._database.write(finish)
        await self._database.write(partial(admin_requests.prune, before_ms=now - KEEP_MS))

    async def _result(self, request: AdminRequest) -> Mapping[str, Any]:
        handler = self._handlers.get(request.kind)
        if handler is None:
            error = (
                f'This service does not carry out the request "{request.kind}": it is of another '
                "version, or part of another program."
            )
            return {"ok": False, "error": error}
        try:
            return {"ok": True, **await handler(request)}
        except AdminRequestRefused as exc:
            return {"ok": False, "error": str(exc)}
        except (StorageUnavailable, AdminRequestDeferred):
            raise  # the request stays, and is tried again
        except Exception:  # the edge of the task: the next request must be carried out all the same
            log.exception("The request %r failed.", request.kind)
            return {"ok": False, "error": "The service failed; see its log for the trace."}


def wait_until_done(
    database: Path,
    kind: str,
    body: Mapping[str, Any],
    handler: HandlerFactory,
    report: ReportProgress,
) -> Mapping[str, Any]:
    """Place a request and return its result, however long that takes.

    The service that has the database carries it out; if there is none, or none any more, `handler`
    does. A caller that is interrupted may call again: the request stays until it is done. Raises
    CannotOpen if the database cannot be used.

    report: called again and again with what is left to do.
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
    while (result := placed.look()) is None:
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
    """Carry the request out, if that is possible now and the database has no owner."""
    database = Database(path)
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
