"""Recovery of what an earlier process left: unpublished outcomes and waiting commands."""

from __future__ import annotations

import asyncio
import logging

from engine.actors.context import ActorContext
from engine.actors.mailbox import Acceptance, Envelope
from engine.clock import now_ms
from engine.commands import records
from engine.commands.observer import SettledTurn
from engine.commands.outcomes import Failure
from engine.commands.request import Request
from engine.commands.sender import counted_sender
from engine.errors import Internal
from engine.texts import sentences
from storage.hash_chain import new_salts
from storage.history import Row
from storage.mailboxes import Accepted, Waiting
from storage.outbox import Settled

log = logging.getLogger("rosey_llm.supervisor")


async def publish_committed(context: ActorContext) -> None:
    """Publish the outcomes that were committed but may not have been published."""
    for outcome in await context.ledger.unpublished():
        context.sink.publish(outcome)


async def envelope_of(context: ActorContext, row: Waiting) -> Envelope | None:
    """Return the envelope of a waiting command.

    Returns None if the command cannot be read (a newer version may have accepted it); its outcome
    is then a failure.
    """
    try:
        command, trace = records.decode(row.body), records.decode_trace(row.body)
    except (KeyError, TypeError, ValueError) as exc:
        log.error(
            "Cannot read a waiting command of channel %(channel).80r: %(error)r",
            {
                "event": "mailbox.unreadable",
                "channel": row.channel,
                "request_id": row.request_id,
                "error": exc,
            },
        )
        await _fail(context, row)
        return None
    user_id = Request.user_id_of(row.personal)
    request = Request(
        row.channel,
        row.request_id,
        row.username,
        command,
        row.replies,
        trace,
        user_id=user_id,
        by_program=records.decode_by_program(row.body),
    )
    accepted: asyncio.Future[Acceptance] = asyncio.get_running_loop().create_future()
    accepted.set_result(Accepted(row.id))
    sender = counted_sender(request)
    return Envelope(
        request, accepted, len(row.body), row.accepted_ms, sender=sender, lost=row.attempts
    )


async def _fail(context: ActorContext, row: Waiting) -> None:
    said = sentences.UNREADABLE()
    text = context.texts.say(row.channel, said)
    username, code, personal = row.username or None, Internal.code, row.personal
    failure = Failure(row.channel, row.request_id, code, text, username=username)
    rows = (Row("error", row.request_id, row.username, str(said), code=code, personal=personal),)
    request = Request(row.channel, row.request_id, row.username, records.Erased(), row.replies)
    now, salts = now_ms(), new_salts(len(rows))
    settled = await context.ledger.settle(row.id, request, rows, failure, now_ms=now, salts=salts)
    if isinstance(settled, Settled):
        context.sink.publish(settled)
    context.observer.settled(SettledTurn(None, failure, (), row.accepted_ms, now, now))
