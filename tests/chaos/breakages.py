"""Ways to break an engine on purpose: the chaos run must detect each of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace as changed
from typing import Any

from engine.actors.mailbox import Envelope, Mailbox
from engine.actors.running_turn import RunningTurn
from engine.actors.turn_settlement import TurnSettlement
from engine.answering.turn_result import TurnResult
from engine.commands.ledger import Void
from storage import mailboxes, outbox, snapshots
from storage.commands import Accept
from storage.history import PastRow
from storage.mailboxes import Acceptance
from storage.outbox import Settled
from storage.snapshots import LoadedSnapshot
from tests.chaos.kill_points import replace_attribute


def publish_before_commit() -> None:
    """Publish an answer before it is stored."""
    commit = TurnSettlement._commit

    async def publish_first(
        self: TurnSettlement, row_id: int, turn: RunningTurn, result: TurnResult
    ) -> Settled | Void:
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
        return await commit(self, row_id, turn, result)

    replace_attribute(TurnSettlement, "_commit", publish_first)


def no_dedupe() -> None:
    """Treat a request that is sent again as a new one."""
    accept_all = Accept.apply_all

    def forget_and_accept(
        connection: sqlite3.Connection, records: Sequence[Accept]
    ) -> Sequence[Acceptance]:
        for record in records:
            connection.execute(
                "DELETE FROM outbox WHERE request_id = ? AND channel_id ="
                " (SELECT id FROM channel WHERE name = ?)",
                (record.request_id, record.channel),
            )
        return accept_all(connection, records)

    replace_attribute(Accept, "apply_all", staticmethod(forget_and_accept))
    replace_attribute(outbox, "find_settled", lambda *_, **__: None)


def reset_lost_on_waking() -> None:
    """Forget a reset when the channel is loaded from disk."""
    load = snapshots.load

    def load_without_resets(
        connection: sqlite3.Connection, name: str, *args: Any, **more: Any
    ) -> LoadedSnapshot:
        rows = connection.execute(
            "SELECT h.id, kind, username, content, persona, provider, model FROM history h"
            " JOIN channel c ON c.id = h.channel_id"
            " WHERE c.name = ? AND kind != 'reset' ORDER BY h.id",
            (name,),
        )
        upto = load(connection, name, *args, **more).upto
        return LoadedSnapshot(None, 0, upto, [PastRow(*values) for values in rows])

    replace_attribute(snapshots, "load", load_without_resets)


def persona_lost_on_waking() -> None:
    """Forget a persona switch that is not in the snapshot."""
    load = snapshots.load

    def load_without_personas(*args: Any, **more: Any) -> LoadedSnapshot:
        loaded = load(*args, **more)
        return changed(loaded, rows=[row for row in loaded.rows if row.kind != "persona"])

    replace_attribute(snapshots, "load", load_without_personas)


def snapshot_ahead() -> None:
    """Store snapshots that claim to cover later rows than they do."""
    save = snapshots.save

    def save_too_far(
        connection: sqlite3.Connection, name: str, upto: int, ts_ms: int, body: bytes
    ) -> None:
        save(connection, name, upto + 40, ts_ms, body)

    replace_attribute(snapshots, "save", save_too_far)


def newest_first() -> None:
    """Take the newest command out of the mailbox first."""

    take = Mailbox.take

    def take_the_newest(self: Mailbox) -> Envelope:
        if self._envelopes:
            self._envelopes.rotate(1)
        return take(self)

    replace_attribute(Mailbox, "take", take_the_newest)


def mailbox_forgotten() -> None:
    """Ignore the commands that were waiting at a crash."""
    replace_attribute(mailboxes, "waiting", lambda _: [])


def outbox_forgotten() -> None:
    """Ignore the outcomes that were committed but perhaps not published."""
    replace_attribute(outbox, "unpublished", lambda _: [])


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
