"""The control lane: what never waits in a mailbox (a stop, a request sent again, a look-up)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from math import ceil
from typing import NamedTuple

from engine.actors.channel import ChannelActor
from engine.actors.context import ActorContext
from engine.actors.mailbox import Envelope
from engine.admission.gate import Gate
from engine.answering import turn_result
from engine.commands import refusals
from engine.commands.records import Stop
from engine.commands.request import Request
from engine.commands.sender import sender_of
from engine.errors import Busy, Internal, RoomError, TooManyCopies
from engine.texts import sentences
from storage.errors import StorageUnavailable
from storage.mailboxes import AlreadyWaiting
from storage.outbox import Settled

log = logging.getLogger("rosey_llm.supervisor")
VAIN_KEPT = 1000
LOOK_UPS_AT_ONCE = 64
JOIN_ATTEMPTS = 3
STOP_OTHERS = ("stop_others", sentences.STOP_NOT_ALLOWED)
LaneAction = Callable[[Request], Coroutine[None, None, None]]


class StopTarget(NamedTuple):
    """What a stop means: the turn that ran when it came, and the ids of what waited by then."""

    running: Envelope | None = None
    waiting: Sequence[str] = ()

    def now(self, actor: ChannelActor | None) -> Envelope | None:
        """Return the turn that it means now: that one, or one that waited; None if they ended."""
        current = actor.current if actor is not None else None
        if current is None or current is self.running:
            return current
        return current if current.request.request_id in self.waiting else None


class ControlLane:
    """Carries out commands that must not wait, each in its own task.

    If one fails, its sender gets a refusal.

    find_waiting: returns the actor in which a request waits or runs.
    tasks: the tasks that are running.
    """

    def __init__(
        self,
        context: ActorContext,
        find_actor: Callable[[str], ChannelActor | None],
        find_waiting: Callable[[Request], ChannelActor | None],
        gate: Gate,
    ) -> None:
        self._context = context
        self._gate = gate
        self._find_actor = find_actor
        self._find_waiting = find_waiting
        self.tasks: set[asyncio.Task[None]] = set()
        # Newest stops that stopped nothing, by channel and request id. They leave no row.
        self._vain: dict[tuple[str, str], None] = {}

    def __len__(self) -> int:
        return len(self.tasks)

    def join(self, request: Request) -> None:
        """Add this sender to a request that still waits; both get its outcome."""
        self._spawn(request, self._join)

    def refuse(self, request: Request, refusal: RoomError) -> None:
        """Raise the refusal of the gate, unless the request may have been accepted before.

        Then it gets its first outcome, or is refused through the sink.
        """
        if len(self) >= LOOK_UPS_AT_ONCE or not self._gate.may_look_up(request):
            self._gate.note(request, refusal)
            raise refusal
        self._spawn(request, partial(self._look_up, refusal))

    def stop(self, request: Request) -> None:
        """Stop the answer that the channel's actor is writing now, and drop what waits behind it.

        The turn ends the stop, too.
        """
        actor = self._find_actor(request.channel_id)
        seen = StopTarget(actor.current, actor.waiting_of(request)) if actor else StopTarget()
        self._spawn(request, partial(self._stop, seen))

    def _spawn(self, request: Request, action: LaneAction) -> None:
        task = asyncio.create_task(self._carry_out(request, action))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _carry_out(self, request: Request, action: LaneAction) -> None:
        refusal: RoomError
        try:
            await action(request)
        except StorageUnavailable as exc:
            said = sentences.NOT_WRITTEN(error=str(exc))
            refusal = Busy(said, retry_after_s=self._context.waits.told())
        except RoomError as exc:
            refusal = exc
        except Exception:  # the edge of a task that no code awaits
            log.exception(
                "Cannot handle a message of channel %(channel).80r.",
                {
                    "event": "channel.control_failed",
                    "channel": request.channel_id,
                    "request_id": request.request_id,
                },
            )
            refusal = Internal(sentences.NOT_HANDLED())
        else:
            return
        observer = self._context.observer
        if isinstance(refusal, Busy | Internal):
            observer.unstored(request.channel_id, request.request_id)
        else:
            observer.refused(request.channel_id, request.request_id, refusal.code)
        refusals.send(self._context.sink, request, refusal, self._context.texts)

    async def _join(self, request: Request) -> None:
        known = await self._known(request)
        if known is None:
            raise Busy(sentences.NOT_STORED(), retry_after_s=self._context.waits.told())
        self._repeat(request, known)

    async def _look_up(self, refusal: RoomError, request: Request) -> None:
        known = None
        with contextlib.suppress(StorageUnavailable):
            known = await self._known(request)
        if known is None:
            self._gate.note(request, refusal)
            raise refusal
        self._repeat(request, known)

    async def _known(self, request: Request) -> AlreadyWaiting | Settled | None:
        """Join a request that is stored; return None if there is none.

        One that is being accepted may be stored by the same commit, but behind this: so it is
        joined once more.
        """
        for _ in range(JOIN_ATTEMPTS):
            known = await self._context.ledger.join(request)
            if known is not None or self._find_waiting(request) is None:
                return known
        return None

    def _repeat(self, request: Request, known: AlreadyWaiting | Settled) -> None:
        """Give this sender the outcome of the first one, now or once it is there."""
        if isinstance(known, Settled):
            self._context.sink.publish(known)
        elif known.is_full:
            self._refuse_copy(request)
            return
        self._context.observer.repeated(request)

    def _refuse_copy(self, request: Request) -> None:
        """Tell this copy's sender alone: the request itself still waits for its outcome."""
        actor, waits = self._find_waiting(request), self._context.waits
        wait_s = actor.outcome_wait_s if actor else waits.told()
        said = sentences.COPIES_FULL(seconds=ceil(wait_s))
        refusal = TooManyCopies(said, retry_after_s=wait_s)
        self._context.observer.refused(request.channel_id, request.request_id, refusal.code)
        refusals.send(self._context.sink, request, refusal, self._context.texts)

    async def _stop(self, seen: StopTarget, request: Request) -> None:
        settled = await self._context.ledger.find(request)
        if settled is not None:
            self._context.sink.publish(settled)
            self._context.observer.settled_at_once(request)
            return
        # From here on no await, until the actor knows: the turn may end, and another begin.
        actor = self._find_actor(request.channel_id)
        running = seen.now(actor)
        if isinstance(request.command, Stop) and request.command.everything:
            self._gate.permissions.require(request, "stop_all", sentences.STOP_ALL_NOT_ALLOWED)
        elif running and sender_of(running.request) != sender_of(request):
            if not seen.waiting:
                self._gate.permissions.require(request, *STOP_OTHERS)
            elif not self._gate.permissions.permits(request, STOP_OTHERS[0]):
                running = None  # its sender may drop what is its own
        if actor is not None and request[:2] not in self._vain:
            if running and actor.stop(request, seen.waiting):
                return
            if await actor.drop(request, seen.waiting):
                return
        self._stop_nothing(request)

    def _stop_nothing(self, request: Request) -> None:
        self._note_vain(request)
        answer = turn_result.nothing_to_stop(request, self._context.texts)
        self._context.sink.inform(answer, request.replies)
        self._context.observer.settled_at_once(request)

    def _note_vain(self, request: Request) -> None:
        """Remember a stop that stopped nothing: sent again, it must not stop the next answer."""
        self._vain[request[:2]] = None
        if len(self._vain) > VAIN_KEPT:
            del self._vain[next(iter(self._vain))]
