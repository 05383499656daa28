"""A stop that is being carried out: it ends the running answer, drops waiting commands, or both.

step                    on disk                     after a crash
set aside               the commands wait           as if the stop had never come
committed, with the     all of them are settled,    their outcomes are published, the same
turn that it ends       and so is the stop          bytes again
published               the outbox says so          nothing

Until the commit, the commands keep their places in the mailbox: an erasure finds them there, and if
the commit fails, they are answered in their order. None of them is taken meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from engine.actors import acceptance
from engine.actors.context import ActorContext
from engine.actors.mailbox import Envelope, Mailbox
from engine.answering import turn_result
from engine.answering.turn_result import TurnResult
from engine.clock import now_ms
from engine.commands.ledger import DropOutcome, StopOutcome
from engine.commands.observer import SettledTurn
from engine.commands.request import Request
from engine.texts.sentence import Said
from storage.hash_chain import new_salts
from storage.outbox import Settled


class StopOrder:
    """A stop, and the ids of the waiting requests that it drops.

    on_done: called once for each command that was dropped.
    go_on: called when the mailbox may be taken from again.
    """

    def __init__(
        self,
        request: Request,
        mailbox: Mailbox,
        request_ids: Collection[str],
        on_done: Callable[[Envelope], None],
        go_on: Callable[[], None],
    ) -> None:
        self.request = request
        self._mailbox = mailbox
        self._request_ids = mailbox.set_aside(request_ids)
        self._on_done = on_done
        self._go_on = go_on

    @property
    def is_empty(self) -> bool:
        """Whether it drops nothing."""
        return not self._request_ids

    def outcome(self, context: ActorContext, *, cut: bool) -> StopOutcome:
        """Return what is to be committed. cut: whether the stop ends an answer, too."""
        drops = [
            DropOutcome(row_id, envelope.request, *_dropped(envelope, context))
            for envelope in self._mailbox.envelopes(self._request_ids)
            if (row_id := envelope.row_id) is not None
        ]
        return turn_result.stopped(self.request, context.texts, drops, cut=cut)

    async def carry_out(self, context: ActorContext) -> None:
        """Drop the commands, in a commit without a turn. Raises StorageUnavailable."""
        stop = self.outcome(context, cut=False)
        try:
            settled = await context.ledger.settle_stop(
                stop, now_ms=now_ms(), salts=new_salts(stop.row_count)
            )
        except BaseException:
            self.give_up()
            raise
        self.publish(context, settled)

    def publish(self, context: ActorContext, settled: Settled) -> None:
        """Publish the outcomes, which are committed: of what was dropped first."""
        if settled.drops:
            dropped = self._mailbox.envelopes(self._request_ids)
            self._mailbox.remove_all(self._request_ids)
            for envelope, outcome in zip(dropped, settled.drops, strict=True):
                if outcome is not None:
                    context.sink.publish(outcome)
                _note(context, envelope, outcome)
                self._on_done(envelope)
        else:  # the stop was sent twice, and has its first outcome
            self._mailbox.put_back(self._request_ids)
        context.sink.publish(settled)
        context.observer.settled_at_once(self.request)
        self._go_on()

    def refuse(self, context: ActorContext, said: Said) -> None:
        """Tell the sender that the outcome cannot be stored; nothing is dropped."""
        self.give_up()
        acceptance.refuse(context, self.request, said)

    def give_up(self) -> None:
        """Let the commands be answered after all."""
        self._mailbox.put_back(self._request_ids)
        self._go_on()


def _dropped(envelope: Envelope, context: ActorContext) -> TurnResult:
    """Return the result of a dropped command, with the charges for attempts that a crash cut."""
    charges = context.account(envelope.request, lost=envelope.lost).of_lost()
    return turn_result.dropped(envelope.request, context.texts, charges)


def _note(context: ActorContext, envelope: Envelope, outcome: Settled | None) -> None:
    """Tell the observer of a dropped command; it may have been erased since the commit began."""
    result, now = _dropped(envelope, context), now_ms()
    if outcome is not None:
        context.budgets.note(result.charges, {})
    rows, charges = (result.rows, result.charges) if outcome is not None else ((), ())
    context.observer.settled(
        SettledTurn(
            envelope.request, result.outcome, rows, envelope.accepted_ms, now, now, tuple(charges)
        )
    )
