"""What becomes of a command on its way into the durable mailbox: stored, known already, refused."""

from __future__ import annotations

from engine.actors.context import ActorContext
from engine.actors.mailbox import Envelope
from engine.commands import refusals
from engine.commands.request import Request
from engine.errors import Busy
from engine.texts import sentences
from engine.texts.sentence import Said
from storage.errors import StorageUnavailable
from storage.mailboxes import Accepted
from storage.outbox import Settled


async def stored_row(context: ActorContext, envelope: Envelope) -> int | None:
    """Wait until the command is stored; return its mailbox row id, None if no turn follows."""
    try:
        acceptance = await envelope.accepted
    except StorageUnavailable as exc:
        refuse_unwritten(context, envelope.request, exc)
        return None
    if isinstance(acceptance, Accepted):
        return acceptance.id
    if isinstance(acceptance, Settled):
        context.sink.publish(acceptance)
    return None


def not_written(error: StorageUnavailable) -> Said:
    return sentences.NOT_WRITTEN(error=str(error))


def refuse_unwritten(context: ActorContext, request: Request, error: StorageUnavailable) -> None:
    """Tell the sender that the command, or its outcome, cannot be stored now."""
    refuse(context, request, not_written(error))


def refuse(context: ActorContext, request: Request, said: Said) -> None:
    """Tell the sender that it may try again."""
    refusal = Busy(said, retry_after_s=context.waits.told())
    refusals.send(context.sink, request, refusal, context.texts)
