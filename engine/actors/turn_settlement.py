"""The end of a turn: its attempt is counted on disk, its outcome committed, and then published."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from engine.actors import acceptance
from engine.actors.context import ActorContext
from engine.actors.conversation_cache import ConversationCache
from engine.actors.running_turn import RunningTurn
from engine.answering import turn_result
from engine.answering.turn_result import TurnResult
from engine.clock import now_ms
from engine.commands import outcomes
from engine.commands.ledger import Undecided, Void
from engine.commands.observer import SettledTurn
from engine.commands.outcomes import Answer, Failure
from storage.hash_chain import new_salts
from storage.history import Row
from storage.outbox import Settled
from storage.usage import Charge

STORAGE_PAUSE_S = 1.0


class TurnSettlement:
    """What takes the turns of one channel to the ledger."""

    __slots__ = ("_cache", "_context")

    def __init__(self, context: ActorContext, cache: ConversationCache) -> None:
        self._context = context
        self._cache = cache

    async def count_attempt(self, row_id: int, turn: RunningTurn) -> int:
        """Count this attempt on disk, before the provider is called; return its number.

        0 means that the command is settled already. For a command that did not have to wait, the
        first attempt was counted when it was accepted.
        """
        if turn.attempted:
            turn.attempted = False
            return 1
        return await self._context.ledger.attempt(row_id)

    async def settle(self, row_id: int, turn: RunningTurn, result: TurnResult) -> None:
        """Commit the turn, then publish its outcome."""
        turn.settling = True
        try:
            settled = await self._commit(row_id, turn, result)
        finally:
            turn.settling = False
        result = turn.unless_erased(result)
        turn.close_account(result.charges if isinstance(settled, Settled) else None)
        if isinstance(settled, Settled):
            self._cache.apply(result.rows, settled.upto)
            self._context.sink.publish(settled)
            self._note_settled(turn, result.outcome, result.rows, result.charges)
            for stop, outcome in zip(turn.stops, settled.stops, strict=True):
                stop.publish(self._context, outcome)
        else:
            self._note_settled(turn, result.outcome, ())
            for stop in turn.stops:
                stop.give_up()
                answer = turn_result.nothing_to_stop(stop.request, self._context.texts)
                self._context.sink.inform(answer, stop.request.replies)

    async def _commit(self, row_id: int, turn: RunningTurn, result: TurnResult) -> Settled | Void:
        """Settle until it is decided: an answer has cost time and money, so it is kept."""
        request, held = turn.envelope.request, self._context.held
        while True:
            result = turn.unless_erased(result)
            stops = [stop.outcome(self._context, cut=True) for stop in turn.stops]
            row_count = len(result.rows) + sum(stop.row_count for stop in stops)
            try:
                settled = await self._context.ledger.settle(
                    row_id,
                    request,
                    result.rows,
                    result.outcome,
                    now_ms=now_ms(),
                    salts=new_salts(row_count),
                    stops=stops,
                    charges=result.charges,
                )
            except Undecided as exc:
                held.hold(turn, exc)
                turn.refuse_stops(acceptance.not_written(exc))
                await asyncio.sleep(STORAGE_PAUSE_S)
            else:
                held.release(turn)
                return settled

    async def publish_again(self, turn: RunningTurn) -> None:
        """Publish the outcome of a command that was settled before a crash."""
        if settled := await self._context.ledger.find(turn.envelope.request):
            self._context.sink.publish(settled)
            self._note_settled(turn, outcomes.decode(settled.body), ())

    def _note_settled(
        self,
        turn: RunningTurn,
        outcome: Answer | Failure,
        rows: tuple[Row, ...],
        charges: Sequence[Charge] = (),
    ) -> None:
        now = now_ms()
        envelope = turn.envelope
        self._context.observer.settled(
            SettledTurn(
                envelope.request,
                outcome,
                rows,
                envelope.accepted_ms,
                turn.started_ms or now,
                now,
                tuple(charges),
            )
        )
