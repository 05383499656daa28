"""Erasing in a running service, or in its stead: all that holds what was said, in this order.

1. What waits in mailboxes is replaced on disk by a note that it was erased; then, in memory, the
   same is done, and a running turn of the scope is cut off. Whatever was about to be committed is
   committed by the time this ends, so that all rows there are now are all there will be.
2. In batches, rows are taken out of the search index, then blanked in the history, together with
   their outcomes in the outbox and the snapshots of their channels. In the same breath the
   channels' actors forget their conversations: no snapshot of the old text can be asked for later.
3. The order is rewritten: from here on it names nobody, and says what is left to do.
4. The files are cleaned: the search index is rewritten; for an order, the database too, since
   SQLite may leave copies of rows that it has moved in the unused space of its pages; and the
   journal (-wal) is cut to nothing once nobody reads in it.

A crash between any two of these leaves the order, which is begun again where it was cut off: rows
that are erased are passed over, those that are not are still whole, with their text, so that the
index can forget them. That files are to be cleaned stands in the database from the first erased row
on (`storage.erasure.remains`). The chain of digests holds at every moment.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from engine.actors.supervisor import Supervisor
from engine.answering.turn_result import ERASED
from engine.clock import now_ms
from engine.commands import records
from engine.commands.outcomes import Failure
from engine.commands.records import Erased
from engine.errors import Cancelled
from engine.operations.admin_requests import AdminRequestDeferred, AdminRequestRefused, Handler
from engine.operations.index_erasure import IndexErasure
from storage import admin_requests, erasure
from storage.admin_requests import AdminRequest
from storage.erasure import ErasableRows, Scope
from storage.errors import StorageUnavailable
from storage.writer.database import Database

log = logging.getLogger("rosey_llm.erasing")
REQUEST_KIND = "erase"
BREATH_S = 0.01
PATIENCE_S = 1.0
LOOK_S = 0.1
READERS = "Somebody reads the database, and so its journal; this goes on when they have ended."


@dataclass(frozen=True, slots=True)
class _ErasureProgress:
    """Where it is noted, in the same commit as each step, how far an order has come."""

    request_id: int
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Swept:
    """Rows that were erased; whether those were all."""

    rows: int
    is_whole: bool


@asynccontextmanager
async def handler(database: Database) -> AsyncIterator[Handler]:
    """Who carries out such an order where no service has the database."""
    eraser = Eraser(database)
    try:
        yield eraser.carry_out
    finally:
        await eraser.aclose()


class Eraser:
    """Erases in one database; `supervisor` has the actors that live on it, if any do."""

    def __init__(self, database: Database, supervisor: Supervisor | None = None) -> None:
        self._database = database
        self._supervisor = supervisor
        self._index = IndexErasure(database.path)
        self._one_at_a_time = asyncio.Lock()
        self._admin_requests = 0
        self._begun: set[int] = set()
        self._is_compact = True

    async def aclose(self) -> None:
        await self._index.aclose()

    async def carry_out(self, request: AdminRequest) -> Mapping[str, Any]:
        """The handler of orders; the result's `rows` is how many were erased.

        The order's body is {"scope", "compact"}; on the way come in "upto", the last row that is
        of this erasure, however long it takes, "rows" and "waits_for".
        """
        self._admin_requests += 1
        try:
            async with self._one_at_a_time:
                return await self._carry_out(request)
        finally:
            self._admin_requests -= 1

    async def sweep(self, scopes: Iterable[Scope], *, compact: bool) -> Swept:
        """Erase what has been said in these scopes and clean up, but leave out what only waits.

        compact: write the database anew, where something was erased since that was done last. An
        order cuts a sweep short. Raises StorageUnavailable.
        """
        erased = 0
        async with self._one_at_a_time:
            cut_off: int = await self._database.write(erasure.remains)
            if cut_off and not self._index.is_open:
                await self._index.throw_away()
                self._is_compact = False
            upto = await self._database.write(erasure.newest)
            for scope in scopes:
                async with aclosing(self._blank_all(scope, upto)) as steps:
                    async for rows in steps:
                        erased += rows
                        self._is_compact = self._is_compact and not erased
                        if self._admin_requests:
                            return Swept(erased, is_whole=False)
            if compact and not self._is_compact:
                await self._try_to_compact()
            left: int = await self._database.write(erasure.remains)
            if left:
                await self._clean()
        return Swept(erased, is_whole=True)

    async def _carry_out(self, request: AdminRequest) -> Mapping[str, Any]:
        body = dict(request.body)
        try:
            await self._go_through(request, body)
        except StorageUnavailable as exc:
            if self._database.failing is not None:
                raise
            await self._keep(request, {**body, "waits_for": str(exc)})
            raise AdminRequestDeferred(str(exc)) from exc
        self._begun.discard(request.id)
        log.info("%d rows of the history were erased.", body["rows"])
        return {"rows": body["rows"]}

    async def _go_through(self, request: AdminRequest, body: dict[str, Any]) -> None:
        if request.id not in self._begun and "rows" in body:
            await self._index.throw_away()  # the crash that cut it off may have left it behind
        self._begun.add(request.id)
        body.setdefault("rows", 0)
        if "scope" in body:
            scope = _scope(body["scope"])
            if "upto" not in body:
                body["upto"] = await self._erase_waiting(scope)
                await self._keep(request, body)
            progress = _ErasureProgress(request.id, body)
            async for erased in self._blank_all(scope, body["upto"], progress):
                body["rows"] += erased
            del body["scope"]
            await self._keep(request, body)
        if body.get("compact"):
            await self._index.clean()
            await self._compact()
            del body["compact"]
            await self._keep(request, body)
        await self._clean()

    async def _keep(self, request: AdminRequest, body: Mapping[str, Any]) -> None:
        keep = partial(admin_requests.save_progress, request_id=request.id, body=dict(body))
        await self._database.write(keep)

    async def _erase_waiting(self, scope: Scope) -> int:
        """What has not ended is erased before its end; the id up to which there is more to erase.

        What comes in from now on is not of this erasure.
        """
        body = records.encode(Erased())
        erased = await self._database.write(partial(erasure.erase_waiting, scope=scope, body=body))
        if self._supervisor is not None:
            self._supervisor.erase(erased)
        # Behind whatever a turn had asked to be committed before it was cut off.
        return await self._database.write(erasure.newest)

    async def _blank_all(
        self, scope: Scope, upto: int, progress: _ErasureProgress | None = None
    ) -> AsyncGenerator[int, None]:
        """Step by step; how many rows each of them has erased."""
        reached: int | None = 0
        while reached is not None:
            find = partial(erasure.find, scope=scope, after_id=reached, upto=upto)
            found = await self._database.write(find)
            erased = 0
            if found.rows:
                await self._index.forget(found.rows)
                erased = await self._blank(found, progress)
            reached = found.reached
            yield erased
            await asyncio.sleep(BREATH_S)

    async def _blank(self, found: ErasableRows, progress: _ErasureProgress | None) -> int:
        row_ids = [row_id for row_id, _ in found.rows]

        def blank(connection: Any) -> int:
            erased = erasure.blank(connection, row_ids, now_ms(), _outcome)
            if progress is not None:
                body = {**progress.body, "rows": progress.body["rows"] + erased}
                admin_requests.save_progress(connection, progress.request_id, body)
            return erased

        # No await in between: a snapshot that is asked for behind the blanking must be a new one.
        blanked = self._database.write_soon(blank)
        if self._supervisor is not None:
            self._supervisor.forget(found.channels)
        return await blanked

    async def _try_to_compact(self) -> None:
        try:
            await self._compact()
            self._is_compact = True
        except StorageUnavailable as exc:
            log.warning("Remains of what was too old may be left in the database: %s", exc)

    async def _compact(self) -> None:
        if self._database.path is not None:
            await self._database.compact()

    async def _clean(self) -> None:
        """Let no byte of what was erased be left. StorageUnavailable where that takes longer."""
        noted = await self._database.write(erasure.remains)
        await self._index.clean()
        deadline_s = time.monotonic() + PATIENCE_S
        while not await self._database.truncate_wal():
            if time.monotonic() > deadline_s:
                raise StorageUnavailable(READERS)
            await asyncio.sleep(LOOK_S)
        await self._database.write(partial(erasure.note_cleaned, noted=noted))


def _scope(values: Mapping[str, Any]) -> Scope:
    try:
        return Scope.from_json(values)
    except TypeError as exc:
        raise AdminRequestRefused("This was ordered by another version of rosey-llm.") from exc


def _outcome(channel: str, request_id: str) -> bytes:
    """What a request hears that is sent again."""
    return Failure(channel, request_id, Cancelled.code, ERASED).encode()
