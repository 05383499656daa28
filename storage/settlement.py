"""Settles commands: stores the turn and its outcome, and deletes the command from the mailbox."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import orjson

from storage import channels, history, outbox, replies, usage
from storage.history import TurnRows
from storage.outbox import Settled, find_settled
from storage.writer.bulk_statements import ByIds, Values

if TYPE_CHECKING:
    from storage.commands import Settle, SettleAtOnce

# As one row: each row that is fetched releases and takes the interpreter lock.
SELECT = ByIds(
    "SELECT json_group_array(json_array(id, channel_id, request_id, json("  # noqa: S608
    + replies.SUBJECTS.format(table="mailbox")
    + "), accepted_ms)) FROM mailbox WHERE id IN {ids}"
)
DELETE = ByIds("DELETE FROM mailbox WHERE id IN {ids}")


class _WaitingCommand(NamedTuple):
    """What the mailbox has of a command, and its reply subjects."""

    channel_id: int
    request_id: str
    replies: tuple[str, ...]
    accepted_ms: int


def settle_all(connection: sqlite3.Connection, outcomes: Sequence[Settle]) -> list[Settled | None]:
    """Store turns and their outcomes, and delete their commands, all in one commit.

    The result is None for a command that no longer waits: it has another outcome already.
    """
    waits = _load_waiting(connection, [outcome.row_id for outcome in outcomes])
    valid: dict[int, tuple[Settle, _WaitingCommand]] = {}
    for number, outcome in enumerate(outcomes):
        wait = waits.get(outcome.row_id)
        # Ids are reused once the table is empty; an id with its channel and request is not, as long
        # as the outbox has the request.
        asked = channels.find(connection, outcome.channel), outcome.request_id
        if wait is not None and (wait.channel_id, wait.request_id) == asked:
            valid[number] = outcome, waits.pop(outcome.row_id)
    if not valid:
        return [None] * len(outcomes)
    DELETE.execute(connection, [outcome.row_id for outcome, _ in valid.values()])
    kept = dict(zip(valid, _store(connection, list(valid.values())), strict=True))
    usage.add(connection, [charge for each, _ in valid.values() for charge in each.charges])
    for number, (outcome, _) in valid.items():
        if outcome.stops:
            stops = tuple(settle_at_once(connection, stop) for stop in outcome.stops)
            kept[number] = kept[number]._replace(stops=stops)
    return [kept.get(number) for number in range(len(outcomes))]


def settle_at_once(connection: sqlite3.Connection, outcome: SettleAtOnce) -> Settled:
    """Settle a command that never waited; sent again, it gets the first outcome.

    A request has one outcome: if another command waits under the same request id, this is its
    outcome too, and also goes to its reply subjects.
    """
    channel, request_id, subjects = outcome.channel, outcome.request_id, outcome.replies
    if settled := find_settled(connection, channel, request_id, subjects):
        return settled
    drops = tuple(settle_all(connection, outcome.drops)) if outcome.drops else ()
    channel_id = channels.find_or_make(connection, channel, outcome.now_ms)
    connection.execute(
        "DELETE FROM mailbox WHERE channel_id = ? AND request_id = ?", (channel_id, request_id)
    )
    if subjects:
        replies.add(connection, replies.rows_of(channel_id, request_id, subjects))
    merged = replies.of_request(connection, channel_id, request_id)
    command = _WaitingCommand(channel_id, request_id, merged, outcome.now_ms)
    return _store(connection, [(outcome, command)])[0]._replace(drops=drops)


def _load_waiting(
    connection: sqlite3.Connection, row_ids: Sequence[int]
) -> dict[int, _WaitingCommand]:
    return {
        row_id: _WaitingCommand(channel_id, request_id, replies.of_pairs(pairs), accepted_ms)
        for cursor in SELECT.portions(connection, row_ids)
        for row_id, channel_id, request_id, pairs, accepted_ms in orjson.loads(cursor.fetchone()[0])
    }


def _store(
    connection: sqlite3.Connection,
    outcomes: Sequence[tuple[Settle | SettleAtOnce, _WaitingCommand]],
) -> list[Settled]:
    turns = [
        TurnRows(wait.channel_id, outcome.now_ms, outcome.rows, wait.accepted_ms, outcome.salts)
        for outcome, wait in outcomes
    ]
    uptos = history.append(connection, turns)
    rows: list[Values] = [
        (
            wait.channel_id,
            outcome.request_id,
            outcome.kind,
            outbox.NO_REPLIES,
            outcome.body,
            outcome.now_ms,
            upto,
        )
        for (outcome, wait), upto in zip(outcomes, uptos, strict=True)
    ]
    ids = outbox.add(connection, rows)
    return [
        Settled(
            row_id,
            outcome.channel,
            outcome.request_id,
            outcome.kind,
            outcome.body,
            wait.replies,
            upto,
            correlation_id=replies.first_correlation(wait.replies),
        )
        for row_id, (outcome, wait), upto in zip(ids, outcomes, uptos, strict=True)
    ]
