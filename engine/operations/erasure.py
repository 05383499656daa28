"""Erases a user, a channel or old messages from every place that holds their text.

The running service does this, or the command itself if no service runs. The steps:

1. Waiting commands are replaced on disk by a note that they were erased, then in memory; a running
   turn of the scope is cut off. Commits in progress end first: `upto` is the last row to erase.
2. In batches, rows are removed from the search index, then blanked in the history, the outbox and
   the snapshots in one commit. At the same moment the channels' actors forget their conversations,
   so that no later snapshot contains the old text.
3. The scope is removed from the request, which then names no user any more.
4. The files are cleaned: the search index is rewritten, the database too if the request says
   "compact" (SQLite may leave copies of moved rows in unused space), and the WAL file is truncated
   once no process reads it.

The request's body (JSON, in the database) is the state; each step saves it:

scope                        placed; step 1 is not finished
scope, upto, rows            step 2: rows up to the id `upto`; so far `rows` rows are erased
upto, rows, compact: true    step 4: the index and the database are to be rewritten
upto, rows                   step 4: the index is to be cleaned and the WAL file truncated
reason, by                   why the rows are erased, and who asked (`storage/erasure_events.py`)
waits_for                    added if an attempt could not go on; the reason, for the caller

"compact" is set by the caller, and deleted when the database is rewritten. After a crash the
request continues in its last saved state: erased rows are skipped, the others still have their
text, so the index can remove it. `storage.erasure.remains` says that files are to be cleaned, from
the first erased row on. The hash chain is valid at every moment.
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
from engine.answering import turn_result
from engine.clock import DAY_MS, now_ms
from engine.commands import records
from engine.commands.records import Erased
from engine.operations.admin_requests import AdminRequestDeferred, AdminRequestRefused, Handler
from engine.operations.index_erasure import IndexErasure
from engine.texts.texts import Texts
from storage import admin_requests, erasure, usage
from storage.admin_requests import AdminRequest
from storage.erasure import ErasableRows, Scope
from storage.erasure_events import Erasure
from storage.errors import StorageUnavailable
from storage.writer.database import Database

log = logging.getLogger("rosey_llm.erasing")
REQUEST_KIND = "erase"
PAUSE_S = 0.01
READERS_TIMEOUT_S = 1.0
POLL_S = 0.1
READERS_MESSAGE = (
    "Another process is reading the database; cleaning continues when it has finished."
)
OTHER_VERSION = (
    "The request was made by another version of rosey-llm. "
    "Run the command with the version of the service."
)


@dataclass(frozen=True, slots=True)
class _ErasureProgress:
    """The request that a batch updates, in the same commit, with the number of erased rows."""

    request_id: int
    body: Mapping[str, Any]

    @property
    def why(self) -> Erasure:
        return Erasure("order", self.body.get("reason", ""), self.body.get("by", ""))


@dataclass(frozen=True, slots=True)
class Swept:
    """The number of erased rows, and whether the sweep reached its end."""

    rows: int
    is_whole: bool


@asynccontextmanager
async def handler(database: Database, texts: Texts | None = None) -> AsyncIterator[Handler]:
    """Return the handler of erase requests for a database without a service."""
    eraser = Eraser(database, texts=texts)
    try:
        yield eraser.carry_out
    finally:
        await eraser.aclose()


class Eraser:
    """Erases in one database.

    supervisor: has the database's actors; None if no service runs.
    texts: what senders of erased messages are told.
    """

    def __init__(
        self,
        database: Database,
        supervisor: Supervisor | None = None,
        texts: Texts | None = None,
    ) -> None:
        self._database = database
        self._texts = texts or Texts()
        self._supervisor = supervisor
        self._index = IndexErasure(database.path)
        self._one_at_a_time = asyncio.Lock()
        self._admin_requests = 0
        self._started: set[int] = set()
        self._is_compact = True

    async def aclose(self) -> None:
        await self._index.aclose()

    async def carry_out(self, request: AdminRequest) -> Mapping[str, Any]:
        """Carry out an erase request; return {"rows": number of erased rows}.

        Raises AdminRequestDeferred if it has to wait, AdminRequestRefused if it is not understood.
        """
        self._admin_requests += 1
        try:
            async with self._one_at_a_time:
                return await self._carry_out(request)
        finally:
            self._admin_requests -= 1

    async def sweep(self, scopes: Iterable[tuple[Scope, int]], *, compact: bool) -> Swept:
        """Erase rows in these scopes, each up to a row id, and clean the files.

        Waiting commands are not erased.

        A waiting request ends the sweep early. Raises StorageUnavailable.

        compact: rewrite the database if rows were erased since the last rewrite.
        """
        erased = 0
        async with self._one_at_a_time:
            cut_off: int = await self._database.write(erasure.remains)
            if cut_off and not self._index.is_open:
                await self._index.throw_away()
                self._is_compact = False
            for scope, upto in scopes:
                if scope.before_ms is not None and scope.channel is None:
                    await self._forget_usage(scope.before_ms)
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

    async def _forget_usage(self, before_ms: int) -> None:
        """Delete what users used on days that lie before this time in every time zone."""

        def forget(connection: Any) -> None:
            if usage.forget_users(connection, before_ms // DAY_MS - 1):
                erasure.note_remains(connection)

        await self._database.write(forget)

    async def _carry_out(self, request: AdminRequest) -> Mapping[str, Any]:
        body = dict(request.body)
        try:
            await self._run_steps(request, body)
        except StorageUnavailable as exc:
            if self._database.failing is not None:
                raise
            await self._save(request, {**body, "waits_for": str(exc)})
            raise AdminRequestDeferred(str(exc)) from exc
        self._started.discard(request.id)
        log.info(
            "%(rows)d rows of the history were erased.",
            {"event": "erasure.done", "rows": body["rows"]},
        )
        return {"rows": body["rows"]}

    async def _run_steps(self, request: AdminRequest, body: dict[str, Any]) -> None:
        if request.id not in self._started and "rows" in body:
            await self._index.throw_away()  # a crash may have left erased words in its bytes
        self._started.add(request.id)
        body.setdefault("rows", 0)
        if "scope" in body:
            scope = _scope(body["scope"])
            if "upto" not in body:
                body["upto"] = await self._erase_waiting(scope)
                await self._save(request, body)
            progress = _ErasureProgress(request.id, body)
            async for erased in self._blank_all(scope, body["upto"], progress):
                body["rows"] += erased
            del body["scope"]
            await self._save(request, body)
        if body.get("compact"):
            await self._index.clean()
            await self._compact()
            del body["compact"]
            await self._save(request, body)
        await self._clean()

    async def _save(self, request: AdminRequest, body: Mapping[str, Any]) -> None:
        save = partial(admin_requests.save_progress, request_id=request.id, body=dict(body))
        await self._database.write(save)

    async def _erase_waiting(self, scope: Scope) -> int:
        """Erase commands that have not ended; return the id of the last row to erase.

        Later messages are not part of this erasure.
        """
        body = records.encode(Erased())
        erased = await self._database.write(partial(erasure.erase_waiting, scope=scope, body=body))
        if self._supervisor is not None:
            self._supervisor.erase(erased)
            self._supervisor.forget_usage()
        # Runs after every commit that a turn requested before it was cut off.
        return await self._database.write(erasure.newest)

    async def _blank_all(
        self, scope: Scope, upto: int, progress: _ErasureProgress | None = None
    ) -> AsyncGenerator[int, None]:
        """Erase in batches; yield the number of rows that each batch erased."""
        reached: int | None = 0
        while reached is not None:
            find = partial(erasure.find, scope=scope, after_id=reached, upto=upto)
            found = await self._database.write(find)
            erased = 0
            if found.rows:
                await self._index.forget(found.rows)
                erased = await self._blank(scope, found, progress)
            reached = found.reached
            yield erased
            await asyncio.sleep(PAUSE_S)

    async def _blank(
        self, scope: Scope, found: ErasableRows, progress: _ErasureProgress | None
    ) -> int:
        row_ids = [row_id for row_id, _ in found.rows]
        why = progress.why if progress is not None else Erasure("retention")

        def blank(connection: Any) -> int:
            erasure.forget_usage(connection, scope, row_ids)
            erased = erasure.blank(connection, row_ids, now_ms(), self._outcome, why)
            if progress is not None:
                body = {**progress.body, "rows": progress.body["rows"] + erased}
                admin_requests.save_progress(connection, progress.request_id, body)
            return erased

        # No await in between: a snapshot requested after the blanking must not have the old text.
        blanked = self._database.write_soon(blank)
        if self._supervisor is not None:
            self._supervisor.forget(found.channels)
        erased = await blanked
        if self._supervisor is not None:
            self._supervisor.forget_usage()
        return erased

    async def _try_to_compact(self) -> None:
        try:
            await self._compact()
            self._is_compact = True
        except StorageUnavailable as exc:
            log.warning(
                "Copies of erased rows may be left in unused space of the database: %(error)s",
                {"event": "erasure.compact_failed", "error": exc},
            )

    async def _compact(self) -> None:
        if self._database.path is not None:
            await self._database.compact()

    async def _clean(self) -> None:
        """Remove erased text from all files. Raises StorageUnavailable if another process reads."""
        noted = await self._database.write(erasure.remains)
        await self._index.clean()
        deadline_s = time.monotonic() + READERS_TIMEOUT_S
        while not await self._database.truncate_wal():
            if time.monotonic() > deadline_s:
                raise StorageUnavailable(READERS_MESSAGE)
            await asyncio.sleep(POLL_S)
        await self._database.write(partial(erasure.note_cleaned, noted=noted))

    def _outcome(self, channel: str, request_id: str) -> bytes:
        """Return the outcome for an erased request that is sent again."""
        return turn_result.erased_outcome(channel, request_id, self._texts).encode()


def _scope(values: Mapping[str, Any]) -> Scope:
    try:
        return Scope.from_json(values)
    except TypeError as exc:
        raise AdminRequestRefused(OTHER_VERSION) from exc
