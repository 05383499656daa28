"""The control lane: commands that never wait in a mailbox (a stop, and a request sent again)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

from engine.actors.channel import ChannelActor
from engine.actors.context import ActorContext
from engine.clock import now_ms
from engine.commands.outcomes import Answer, Failure
from engine.commands.request import Request
from storage.errors import StorageUnavailable
from storage.hash_chain import new_salts
from storage.history import Row
from storage.outbox import Settled

log = logging.getLogger("rosey_llm.supervisor")
LaneAction = Callable[[Request], Coroutine[None, None, None]]


class ControlLane:
    """Carries out commands that must not wait, each in its own task.

    If one fails, its sender gets a refusal.

    tasks: the tasks that are running.
    """

    def __init__(
        self, context: ActorContext, find_actor: Callable[[str], ChannelActor | None]
    ) -> None:
        self._context = context
        self._find_actor = find_actor
        self.tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self.tasks)

    def join(self, request: Request) -> None:
        """Add this sender to a request that still waits; both get its outcome."""
        self._spawn(request, self._join)

    def stop(self, request: Request) -> None:
        """Stop the answer that the channel's actor is writing now."""
        self._spawn(request, self._stop)

    def _spawn(self, request: Request, action: LaneAction) -> None:
        task = asyncio.create_task(self._carry_out(request, action))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _carry_out(self, request: Request, action: LaneAction) -> None:
        code, error, retry_after_s = "internal", "This message could not be handled.", None
        try:
            await action(request)
        except StorageUnavailable as exc:
            code, error, retry_after_s = "busy", str(exc), 5.0
        except Exception:  # the edge of a task that no code awaits
            log.exception("Cannot handle a message of channel %.80r.", request.channel_id)
        else:
            return
        self._context.observer.unstored(request.channel_id, request.request_id)
        failure = Failure(request.channel_id, request.request_id, code, error, retry_after_s)
        self._context.sink.refuse(failure, request.replies)

    async def _join(self, request: Request) -> None:
        known = await self._context.ledger.join(request)
        if known is None:
            raise StorageUnavailable("The message could not be stored. Send it again shortly.")
        if isinstance(known, Settled):
            self._context.sink.publish(known)
        elif known.is_full:
            self._refuse_copy(request)
            return
        self._context.observer.repeated(request)

    def _refuse_copy(self, request: Request) -> None:
        """Tell this copy's sender alone: the request itself still waits for its outcome."""
        error = "This message waits already, and was sent again too often. Wait for its outcome."
        failure = Failure(request.channel_id, request.request_id, "busy", error, 5.0)
        self._context.sink.refuse_privately(failure, request.replies)
        self._context.observer.refused(request.channel_id, request.request_id, failure.code)

    async def _stop(self, request: Request) -> None:
        actor = self._find_actor(request.channel_id)
        target = actor.current if actor else None
        settled = await self._context.ledger.find(request)
        if settled is None:
            # Stop only the turn that ran when the stop came: another may have begun since.
            stopped = bool(actor and actor.current is target and actor.stop())
            settled = await self._settle_stop(request, stopped=stopped)
        self._context.sink.publish(settled)
        self._context.observer.settled_at_once(request)

    async def _settle_stop(self, request: Request, *, stopped: bool) -> Settled:
        channel, request_id = request.channel_id, request.request_id
        text = "Stopped." if stopped else "There is nothing to stop."
        answer = Answer(channel, request_id, "stop", text, request.username)
        rows = (Row("stop", request_id, request.username),)
        return await self._context.ledger.settle_at_once(
            request, rows, answer, now_ms=now_ms(), salts=new_salts(len(rows))
        )
