"""What becomes of a command on its way into the durable mailbox: stored, known already, refused."""

from __future__ import annotations

from engine.actors.context import ActorContext
from engine.actors.mailbox import Envelope
from engine.commands.request import Request
from storage.errors import StorageUnavailable
from storage.mailboxes import Accepted
from storage.outbox import Settled


async def stored_row(context: ActorContext, envelope: Envelope) -> int | None:
    """Wait until the command is stored; return its mailbox row id, None if no turn follows."""
    try:
        acceptance = await envelope.accepted
    except StorageUnavailable as exc:
        refuse(context, envelope.request, str(exc))
        return None
    if isinstance(acceptance, Accepted):
        return acceptance.id
    if isinstance(acceptance, Settled):
        context.sink.publish(acceptance)
    return None


def refuse(context: ActorContext, request: Request, error: str) -> None:
    """Tell the sender that the command, or its outcome, cannot be stored now."""
    failure = request.failure("busy", error, context.waits.told())
    context.sink.refuse(failure, request.replies)
