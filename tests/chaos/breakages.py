"""Engines that are broken on purpose: the harness must find each of them out."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import replace as changed
from typing import Any

from engine.actors.channel import ChannelActor
from engine.actors.mailbox import Envelope, Mailbox
from engine.actors.running_turn import RunningTurn
from engine.answering.turn_result import TurnResult
from storage import mailboxes, snapshots
from storage.history import PastRow
from storage.mailboxes import Acceptance, Settled
from storage.snapshots import LoadedSnapshot
from tests.chaos.kill_points import replace


def publish_before_commit() -> None:
    """An answer goes out, and then it is kept."""
    settle = ChannelActor._settle

    async def hasty(
        self: ChannelActor, row_id: int, turn: RunningTurn, result: TurnResult
    ) -> Settled | None:
        request, outcome = turn.envelope.request, result.outcome
        self._context.sink.publish(
            Settled(
                0,
                request.channel_id,
                request.request_id,
                outcome.kind,
                outcome.encode(),
                request.replies,
            )
        )
        return await settle(self, row_id, turn, result)

    replace(ChannelActor, "_settle", hasty)


def no_dedupe() -> None:
    """A request that is sent again is a new one."""
    put = mailboxes.put

    def forgetful(
        connection: sqlite3.Connection, channel: str, request_id: str, **more: Any
    ) -> Acceptance:
        connection.execute(
            "DELETE FROM outbox WHERE request_id = ? AND channel_id ="
            " (SELECT id FROM channel WHERE name = ?)",
            (request_id, channel),
        )
        return put(connection, channel, request_id, **more)

    replace(mailboxes, "put", forgetful)
    replace(mailboxes, "find_settled", lambda *_, **__: None)


def reset_lost_on_waking() -> None:
    """A reset holds as long as the channel stays in memory."""
    load = snapshots.load

    def unreset(
        connection: sqlite3.Connection, name: str, *args: Any, **more: Any
    ) -> LoadedSnapshot:
        rows = connection.execute(
            "SELECT h.id, kind, username, content, persona FROM history h"
            " JOIN channel c ON c.id = h.channel_id"
            " WHERE c.name = ? AND kind != 'reset' ORDER BY h.id",
            (name,),
        )
        upto = load(connection, name, *args, **more).upto
        return LoadedSnapshot(None, 0, upto, [PastRow(*values) for values in rows])

    replace(snapshots, "load", unreset)


def persona_lost_on_waking() -> None:
    """Only a snapshot knows the persona."""
    load = snapshots.load

    def indifferent(*args: Any, **more: Any) -> LoadedSnapshot:
        loaded = load(*args, **more)
        return changed(loaded, rows=[row for row in loaded.rows if row.kind != "persona"])

    replace(snapshots, "load", indifferent)


def snapshot_ahead() -> None:
    """A snapshot claims to reach further than it does."""
    save = snapshots.save

    def bold(connection: sqlite3.Connection, name: str, upto: int, ts_ms: int, body: bytes) -> None:
        save(connection, name, upto + 40, ts_ms, body)

    replace(snapshots, "save", bold)


def newest_first() -> None:
    """A mailbox that is a stack."""

    def take(self: Mailbox) -> Envelope:
        envelopes: deque[Envelope] = self._envelopes
        envelope = envelopes.pop()
        self._bytes -= envelope.size_bytes
        return envelope

    replace(Mailbox, "take", take)


def mailbox_forgotten() -> None:
    """What was waiting at a crash stays where it is."""
    replace(mailboxes, "waiting", lambda _: [])


def outbox_forgotten() -> None:
    """What was committed and perhaps not published stays where it is."""
    replace(mailboxes, "unpublished", lambda _: [])


BREAKAGES: dict[str, Callable[[], None]] = {
    breakage.__name__: breakage
    for breakage in (
        publish_before_commit,
        no_dedupe,
        reset_lost_on_waking,
        persona_lost_on_waking,
        snapshot_ahead,
        newest_first,
        mailbox_forgotten,
        outbox_forgotten,
    )
}
