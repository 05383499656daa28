"""The ledger of one engine: its own SQLite database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice

from engine.commands.ledger import DropOutcome, StopOutcome, Undecided, Void
from engine.commands.outcomes import Answer, Failure
from engine.commands.request import Request
from storage import mailboxes, outbox
from storage.commands import Accept, Attempt, Join, MarkPublished, Settle, SettleAtOnce
from storage.errors import StorageUnavailable
from storage.history import Row
from storage.mailboxes import Acceptance, AlreadyWaiting, Waiting
from storage.outbox import Settled
from storage.usage import Charge
from storage.writer.database import Database


class LocalLedger:
    """A `Ledger` over a database that belongs to this process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accept(
        self, request: Request, body: bytes, *, accepted_ms: int, attempts: int
    ) -> asyncio.Future[Acceptance]:
        return self._database.write_soon(
            Accept(
                request.channel_id,
                request.request_id,
                request.username,
                body,
                request.replies,
                accepted_ms,
                attempts,
                request.personal,
            )
        )

    async def attempt(self, row_id: int) -> int:
        return await self._database.write(Attempt(row_id))

    async def settle(
        self,
        row_id: int,
        request: Request,
        rows: Sequence[Row],
        outcome: Answer | Failure,
        *,
        now_ms: int,
        salts: Sequence[bytes],
        stops: Sequence[StopOutcome] = (),
        charges: Sequence[Charge] = (),
    ) -> Settled | Void:
        salts_left = iter(salts)
        record = Settle(
            row_id,
            request.channel_id,
            request.request_id,
            rows,
            outcome.kind,
            outcome.encode(),
            now_ms,
            list(islice(salts_left, len(rows))),
            [_stop(stop, now_ms, salts_left) for stop in stops],
            charges,
        )
        try:
            return await self._database.write(record) or Void()
        except StorageUnavailable as exc:
            raise Undecided(str(exc)) from exc

    async def settle_stop(
        self, stop: StopOutcome, *, now_ms: int, salts: Sequence[bytes]
    ) -> Settled:
        return await self._database.write(_stop(stop, now_ms, iter(salts)))

    async def find(self, request: Request) -> Settled | None:
        channel, request_id, replies = request.channel_id, request.request_id, request.replies
        return await self._database.write(
            lambda connection: outbox.find_settled(connection, channel, request_id, replies)
        )

    async def join(self, request: Request) -> AlreadyWaiting | Settled | None:
        return await self._database.write(
            Join(request.channel_id, request.request_id, request.replies)
        )

    def published(self, outbox_ids: Sequence[int], *, now_ms: int) -> asyncio.Future[None]:
        return self._database.write_at_leisure(MarkPublished(outbox_ids, now_ms))

    async def waiting(self) -> list[Waiting]:
        return await self._database.write(mailboxes.waiting)

    async def unpublished(self) -> list[Settled]:
        return await self._database.write(outbox.unpublished)


def _stop(stop: StopOutcome, now_ms: int, salts: Iterator[bytes]) -> SettleAtOnce:
    request, outcome = stop.request, stop.outcome
    drops = [_drop(drop, now_ms, salts) for drop in stop.drops]
    return SettleAtOnce(
        request.channel_id,
        request.request_id,
        (stop.row,),
        outcome.kind,
        outcome.encode(),
        request.replies,
        now_ms,
        list(islice(salts, 1)),
        drops,
    )


def _drop(drop: DropOutcome, now_ms: int, salts: Iterator[bytes]) -> Settle:
    request, outcome = drop.request, drop.outcome
    return Settle(
        drop.row_id,
        request.channel_id,
        request.request_id,
        drop.rows,
        outcome.kind,
        outcome.encode(),
        now_ms,
        list(islice(salts, len(drop.rows))),
        charges=drop.charges,
    )
