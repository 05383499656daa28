"""The writes of a command's life as records: accept, join, attempt, settle, mark as published.

Records of one type in a group commit are applied together, by `apply_all` of their type; the
states are those of `storage/mailboxes.py`. They may be applied in any order of types, since a turn
awaits the commit of each write before the next. A request that is sent again while its outcome is
being committed gets it either way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from storage import mailboxes, outbox, settlement
from storage.history import Row
from storage.mailboxes import Acceptance, AlreadyWaiting
from storage.outbox import OutcomeKind, Settled
from storage.usage import Charge


class Accept(NamedTuple):
    """Put a command into the mailbox.

    attempts: 1 if its turn starts as soon as it is accepted; that saves a commit for `Attempt`.
    personal: what identifies the sender beside the name, as a row of the history has it.
    """

    channel: str
    request_id: str
    username: str
    body: bytes
    replies: Sequence[str]
    now_ms: int
    attempts: int = 0
    personal: str | None = None

    @staticmethod
    def apply_all(
        connection: sqlite3.Connection, records: Sequence[Accept]
    ) -> Sequence[Acceptance]:
        return mailboxes.put_all(connection, records)


class Join(NamedTuple):
    """Send the outcome of a known request to `replies`, too; the result is None if it is unknown.

    A settled request's outcome is the result, for `replies` alone.
    """

    channel: str
    request_id: str
    replies: Sequence[str]

    @staticmethod
    def apply_all(
        connection: sqlite3.Connection, records: Sequence[Join]
    ) -> Sequence[AlreadyWaiting | Settled | None]:
        return mailboxes.join_all(connection, records)


class Attempt(NamedTuple):
    """Count one more attempt of a command; the result is their number, 0 if it is settled."""

    row_id: int

    @staticmethod
    def apply_all(connection: sqlite3.Connection, records: Sequence[Attempt]) -> Sequence[int]:
        return [mailboxes.take(connection, record.row_id) for record in records]


class Settle(NamedTuple):
    """End the command in mailbox row `row_id`; the result is None if it no longer waits.

    salts: one for each of the rows (`storage/hash_chain.py`).
    stops: the stops that ended its turn; their rows follow those of the turn.
    charges: what the turn adds to the sums of `storage/usage.py`.
    """

    row_id: int
    channel: str
    request_id: str
    rows: Sequence[Row]
    kind: OutcomeKind
    body: bytes
    now_ms: int
    salts: Sequence[bytes] = ()
    stops: Sequence[SettleAtOnce] = ()
    charges: Sequence[Charge] = ()

    @staticmethod
    def apply_all(
        connection: sqlite3.Connection, records: Sequence[Settle]
    ) -> Sequence[Settled | None]:
        return settlement.settle_all(connection, records)


class SettleAtOnce(NamedTuple):
    """Settle a command that never waited; the result is the first outcome of its request.

    drops: the waiting commands that a stop ends; their rows stand before its own. If the request
        has an outcome already, none of them is ended.
    """

    channel: str
    request_id: str
    rows: Sequence[Row]
    kind: OutcomeKind
    body: bytes
    replies: Sequence[str]
    now_ms: int
    salts: Sequence[bytes] = ()
    drops: Sequence[Settle] = ()

    @staticmethod
    def apply_all(
        connection: sqlite3.Connection, records: Sequence[SettleAtOnce]
    ) -> Sequence[Settled]:
        return [settlement.settle_at_once(connection, record) for record in records]


class MarkPublished(NamedTuple):
    """Note that outcomes were published at this time."""

    outbox_ids: Sequence[int]
    now_ms: int

    @staticmethod
    def apply_all(
        connection: sqlite3.Connection, records: Sequence[MarkPublished]
    ) -> Sequence[None]:
        outbox.mark_published(connection, records)
        return [None] * len(records)
