"""Patches that break one promise of the engine each; the property test must detect every one."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from typing import Any
from unittest import mock

from engine.accounting.budgets import Account, Budgets
from engine.actors import local_ledger, recovery
from engine.actors.channel import ChannelActor
from engine.actors.conversation import Conversation
from engine.actors.local_ledger import LocalLedger
from engine.actors.mailbox import Envelope, Mailbox
from engine.actors.resident_actors import ResidentActors
from engine.actors.running_turn import RunningTurn
from engine.actors.supervisor import Supervisor
from engine.actors.turn_settlement import TurnSettlement
from engine.answering.abandonable import AbandonableTask
from engine.answering.turn_account import TurnAccount
from engine.answering.turn_result import TurnResult
from engine.answering.turn_settings import TurnSettings
from engine.clock import now_ms
from engine.commands.ledger import StopOutcome, Void
from engine.commands.request import Request
from engine.errors import Busy
from providers.chain.chain import Answered, ProviderChain
from storage import mailboxes, outbox, snapshots, usage
from storage.commands import Accept, Attempt, Settle, SettleAtOnce
from storage.history import PastRow, Row
from storage.mailboxes import Acceptance
from storage.outbox import Settled
from storage.snapshots import LoadedSnapshot
from storage.usage import Charge
from tests.support import command_writes

patch = mock.patch.object


def publish_before_commit() -> AbstractContextManager[object]:
    commit = TurnSettlement._commit

    async def publish_first(
        self: TurnSettlement, row_id: int, turn: RunningTurn, result: TurnResult
    ) -> Settled | Void:
        request, outcome = turn.envelope.request, result.outcome
        self._context.sink.publish(
            Settled(0, request.channel_id, request.request_id, outcome.kind, outcome.encode(), ())
        )
        return await commit(self, row_id, turn, result)

    return patch(TurnSettlement, "_commit", publish_first)


def no_fence_in_the_store() -> AbstractContextManager[object]:
    """Store a turn even if its command has another outcome already."""

    def settle_all(connection: Any, records: Sequence[Settle]) -> list[Settled]:
        settled: list[Settled] = []
        for row_id, channel, request_id, rows, kind, body, settled_ms, salts, stops, _ in records:
            connection.execute("DELETE FROM mailbox WHERE id = ?", (row_id,))
            connection.execute(
                "DELETE FROM outbox WHERE request_id = ? AND channel_id ="
                " (SELECT id FROM channel WHERE name = ?)",
                (request_id, channel),
            )
            record = SettleAtOnce(channel, request_id, rows, kind, body, (), settled_ms, salts)
            one, *others = SettleAtOnce.apply_all(connection, [record, *stops])
            settled.append(one._replace(stops=tuple(others)))
        return settled

    return patch(Settle, "apply_all", staticmethod(settle_all))


def no_fence_around_the_turn() -> AbstractContextManager[object]:
    """Let a turn with a deaf provider wait for it without end."""

    async def result(self: AbandonableTask[Answered]) -> Answered:
        return await self._task

    return patch(AbandonableTask, "result", result)


def silent_drop() -> AbstractContextManager[object]:
    tell = Supervisor.tell

    def tell_without_refusals(self: Supervisor, request: Request) -> None:
        with contextlib.suppress(Busy):
            tell(self, request)

    return patch(Supervisor, "tell", tell_without_refusals)


def dedupe_forgotten() -> AbstractContextManager[object]:
    accept_all = Accept.apply_all

    def forget_and_accept(connection: Any, records: Sequence[Accept]) -> Sequence[Acceptance]:
        for record in records:
            connection.execute(
                "DELETE FROM outbox WHERE request_id = ? AND channel_id ="
                " (SELECT id FROM channel WHERE name = ?)",
                (record.request_id, record.channel),
            )
        return accept_all(connection, records)

    return patch(Accept, "apply_all", staticmethod(forget_and_accept))


def snapshot_ahead_of_history() -> AbstractContextManager[object]:
    """Change the conversation first, and write history later."""
    commit = TurnSettlement._commit

    async def apply_first(
        self: TurnSettlement, row_id: int, turn: RunningTurn, result: TurnResult
    ) -> Settled | Void:
        cache = self._cache
        if cache._conversation is not None:
            cache.apply(result.rows, cache._conversation.upto + 1)
            await asyncio.sleep(1)
            cache.drop()  # so that it is not applied twice
        return await commit(self, row_id, turn, result)

    return patch(TurnSettlement, "_commit", apply_first)


def passivation_race() -> AbstractContextManager[object]:
    """Check that a channel is idle before the await only, not again after it."""

    async def passivate(self: ResidentActors) -> None:
        for channel_id, actor in list(self._actors.items()):
            if actor.idle:
                await actor.snapshot()
                self._actors.pop(channel_id, None)
                self._last_used_s.pop(channel_id, None)

    return patch(ResidentActors, "passivate_idle", passivate)


def reset_lost_on_restart() -> AbstractContextManager[object]:
    load = snapshots.load

    def without_resets(*args: Any, **kwargs: Any) -> LoadedSnapshot:
        loaded = load(*args, **kwargs)
        return replace(loaded, rows=[row for row in loaded.rows if row.kind != "reset"])

    return patch(snapshots, "load", without_resets)


def model_lost_on_restart() -> AbstractContextManager[object]:
    """Forget a model that is not in the snapshot."""
    load = snapshots.load

    def without_models(*args: Any, **kwargs: Any) -> LoadedSnapshot:
        loaded = load(*args, **kwargs)
        return replace(loaded, rows=[row for row in loaded.rows if row.kind != "model"])

    return patch(snapshots, "load", without_models)


def model_not_in_snapshots() -> AbstractContextManager[object]:
    encode = Conversation.encode

    def encode_without(self: Conversation) -> bytes:
        return encode(replace(self, model=None))

    return patch(Conversation, "encode", encode_without)


def order_swapped() -> AbstractContextManager[object]:
    take = Mailbox.take

    def take_the_newest(self: Mailbox) -> Envelope:
        if self._envelopes:
            self._envelopes.rotate(1)
        return take(self)

    return patch(Mailbox, "take", take_the_newest)


def two_turns_at_once() -> AbstractContextManager[object]:
    tell = ChannelActor.tell

    async def carry_out(actor: ChannelActor, envelope: Envelope) -> None:
        await actor.handle(RunningTurn(envelope, actor._context, actor._cache))
        actor._on_done(actor, envelope)

    def tell_in_parallel(self: ChannelActor, envelope: Envelope) -> None:
        if self._task is None or self._draining:
            tell(self, envelope)
        else:
            asyncio.get_running_loop().create_task(carry_out(self, envelope))

    return patch(ChannelActor, "tell", tell_in_parallel)


def outcome_twice_with_other_bytes() -> AbstractContextManager[object]:
    """Publish other bytes after a restart."""
    unpublished = outbox.unpublished

    def with_other_bytes(connection: Any) -> list[Settled]:
        return [each._replace(body=each.body + b" ") for each in unpublished(connection)]

    return patch(outbox, "unpublished", with_other_bytes)


def failed_message_stays_in_window() -> AbstractContextManager[object]:
    replay = Conversation.replay

    def replay_with_failures(self: Conversation, rows: Iterable[PastRow | Row]) -> None:
        replay(self, [row._replace(kind="answer") if row.kind == "error" else row for row in rows])

    return patch(Conversation, "replay", replay_with_failures)


def unpublished_forgotten() -> AbstractContextManager[object]:
    return patch(outbox, "unpublished", lambda _: [])


def waiting_forgotten() -> AbstractContextManager[object]:
    return patch(mailboxes, "waiting", lambda _: [])


def attempts_not_counted() -> AbstractContextManager[object]:
    return patch(Attempt, "apply_all", staticmethod(lambda connection, records: [1] * len(records)))


def persona_shared_by_all_channels() -> AbstractContextManager[object]:
    set_persona = RunningTurn._set_persona

    def set_for_all_channels(self: RunningTurn, name: str, settings: TurnSettings) -> TurnResult:
        result = set_persona(self, name, settings)
        if result.rows[0].kind == "persona":
            settings.personas.default = result.rows[0].persona or "default"
        return result

    return patch(RunningTurn, "_set_persona", set_for_all_channels)


def providers_closed_under_their_turns() -> AbstractContextManager[object]:
    """Let a reload close replaced providers at once, although turns still use them."""

    def close_at_once(self: ProviderChain) -> None:
        if not self._released:
            self._released = True
            self._lifetimes.release(self._links)

    return patch(ProviderChain, "_release_links", close_at_once)


def row_kept_after_its_outcome() -> AbstractContextManager[object]:
    """Store the outcome in one commit, and delete the mailbox row in the next."""

    async def settle_in_two_commits(
        self: TurnSettlement, row_id: int, turn: RunningTurn, result: TurnResult
    ) -> Settled | Void:
        database = self._context.database
        settled = await database.write(
            partial(_settle_and_keep_row, request=turn.envelope.request, result=result)
        )
        delete = "DELETE FROM mailbox WHERE id = ?"
        await database.write(lambda connection: connection.execute(delete, (row_id,)).rowcount)
        return settled

    return patch(TurnSettlement, "_commit", settle_in_two_commits)


def _settle_and_keep_row(
    connection: sqlite3.Connection, request: Request, result: TurnResult
) -> Settled:
    rows = connection.execute("SELECT * FROM mailbox").fetchall()
    settled = command_writes.settle_at_once(
        connection,
        channel=request.channel_id,
        request_id=request.request_id,
        rows=result.rows,
        kind=result.outcome.kind,
        body=result.outcome.encode(),
        replies=(),
        now_ms=now_ms(),
    )
    connection.executemany("INSERT OR IGNORE INTO mailbox VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    return settled


def attempts_of_a_crash_are_free() -> AbstractContextManager[object]:
    return patch(TurnAccount, "of_lost", lambda _: ())


def charged_before_the_outcome() -> AbstractContextManager[object]:
    """Charge a turn in one commit, and store its outcome in the next."""
    settle = LocalLedger.settle

    async def settle_in_two_commits(
        self: LocalLedger, *place: Any, charges: Sequence[Charge], **more: Any
    ) -> Settled | Void:
        await self._database.write(lambda connection: usage.add(connection, charges))
        return await settle(self, *place, charges=(), **more)

    return patch(LocalLedger, "settle", settle_in_two_commits)


def reservations_are_kept() -> AbstractContextManager[object]:
    reserve = Account.reserve

    def reserve_only(self: Account, tokens: int, micro_usd: int) -> None:
        reserve(self, max(tokens, 0), micro_usd)

    return patch(Account, "reserve", reserve_only)


def charges_not_noted() -> AbstractContextManager[object]:
    return patch(Budgets, "note", lambda self, charges, held: None)


def drops_without_their_stop() -> AbstractContextManager[object]:
    """Settle what a stop drops in a commit of its own, before the stop."""
    settle_stop = LocalLedger.settle_stop

    async def settle_in_two_commits(
        self: LocalLedger, stop: StopOutcome, *, now_ms: int, salts: Sequence[bytes]
    ) -> Settled:
        left = iter(salts)
        drops = [local_ledger._drop(drop, now_ms, left) for drop in stop.drops]
        settled = [await self._database.write(drop) for drop in drops]
        alone = stop._replace(drops=())
        ended = await settle_stop(self, alone, now_ms=now_ms, salts=list(left))
        return ended._replace(drops=tuple(settled))

    return patch(LocalLedger, "settle_stop", settle_in_two_commits)


def stop_drops_what_others_say() -> AbstractContextManager[object]:
    waiting_of = Mailbox.waiting_of

    def of_everybody(self: Mailbox, sender: str | None, *, everything: bool) -> list[str]:
        return waiting_of(self, sender, everything=True)

    return patch(Mailbox, "waiting_of", of_everybody)


def shares_forgotten_at_restart() -> AbstractContextManager[object]:
    return patch(recovery, "counted_sender", lambda _: None)


def overtaken_while_dropping() -> AbstractContextManager[object]:
    """Take what stands behind a command that is about to be dropped, but may not be."""
    take = Mailbox.take

    def take_the_first_that_is_not_set_aside(self: Mailbox) -> Envelope:
        aside = [each for each in self._envelopes or () if each.request.request_id in self._aside]
        if not aside or self._envelopes is None or len(aside) == len(self._envelopes):
            return take(self)
        for each in aside:
            self._envelopes.remove(each)
        taken = take(self)
        self._envelopes = deque([*aside, *(self._envelopes or ())])
        self._request_ids = {each.request.request_id for each in self._envelopes}
        return taken

    stack = ExitStack()
    stack.enter_context(patch(Mailbox, "take", take_the_first_that_is_not_set_aside))
    stack.enter_context(patch(Mailbox, "is_ready", property(len)))
    return stack


BROKEN: list[Callable[[], AbstractContextManager[object]]] = [
    publish_before_commit,
    no_fence_in_the_store,
    no_fence_around_the_turn,
    silent_drop,
    dedupe_forgotten,
    snapshot_ahead_of_history,
    passivation_race,
    reset_lost_on_restart,
    model_lost_on_restart,
    model_not_in_snapshots,
    order_swapped,
    two_turns_at_once,
    outcome_twice_with_other_bytes,
    failed_message_stays_in_window,
    unpublished_forgotten,
    waiting_forgotten,
    attempts_not_counted,
    persona_shared_by_all_channels,
    providers_closed_under_their_turns,
    row_kept_after_its_outcome,
    attempts_of_a_crash_are_free,
    charged_before_the_outcome,
    reservations_are_kept,
    charges_not_noted,
    drops_without_their_stop,
    stop_drops_what_others_say,
    shares_forgotten_at_restart,
    overtaken_while_dropping,
]
