"""What the log says of messages and turns: one event each, without what was said, unless asked."""

from __future__ import annotations

import logging
import re
from typing import Any

from engine.actors.mailbox import Envelope
from engine.answering.turn_result import TurnResult
from engine.clock import now_ms
from engine.commands.outcomes import Answer, Failure
from engine.commands.records import Chat, Complete, SetPersona
from engine.commands.request import Request
from engine.errors import Cancelled
from engine.telemetry.event import Event

log = logging.getLogger("rosey_llm.turn")
QUIET = ("help", "personas")  # kinds of turns that change nothing and cost nothing
CHANGES = {"reset": "channel.reset", "persona": "channel.persona"}
_shows_content = False


def show_content(shows: bool) -> None:
    """Whether what people and models say, and who says it, stands in the log."""
    global _shows_content
    _shows_content = shows


def accepted(request: Request) -> None:
    """A message was taken; its turn is still to come."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    fields: dict[str, Any] = {"channel": request.channel_id, "request_id": request.request_id}
    kind = type(request.command).__name__.lower()
    if _shows_content:
        command = request.command
        said = command.text if isinstance(command, Chat | Complete) else None
        fields |= {"user": request.username, "said": said}
    log.debug(Event("message.accepted", fields | {"command": kind}))


def refused(failure: Failure) -> None:
    """A message was not taken, and its sender heard why."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    fields = {"channel": failure.channel_id, "request_id": failure.request_id}
    log.debug(Event("message.refused", fields | {"code": failure.code}))


def settled(envelope: Envelope, turn: TurnResult) -> None:
    """A turn's outcome stands in the history."""
    row = turn.rows[-1]
    level = logging.DEBUG if row.kind in QUIET else logging.INFO
    if not log.isEnabledFor(level):
        return
    request, outcome = envelope.request, turn.outcome
    details = row.details or {}
    started_ms = details.get("started_ms")
    fields = {
        "channel": request.channel_id,
        "request_id": request.request_id,
        "duration_ms": max(0, now_ms() - envelope.accepted_ms),
        "queued_ms": max(0, started_ms - envelope.accepted_ms) if started_ms else None,
        "waited_ms": details.get("waited_ms"),
        "attempts": details.get("attempts"),
        "persona": row.persona,
    }
    if isinstance(outcome, Answer):
        name = CHANGES.get(row.kind, "turn.answered")
        fields |= _answer(outcome)
    elif outcome.code == Cancelled.code:
        name = "turn.cancelled"
    else:
        name = "turn.failed"
        error = _without_what_was_said(outcome.error, request)
        fields |= {"provider": row.provider, "code": outcome.code, "error": error}
    if _shows_content:
        fields |= _content(turn)
    log.log(level, Event(name, fields))


def _answer(answer: Answer) -> dict[str, Any]:
    usage = answer.usage
    return {
        "action": answer.action,
        "provider": answer.provider,
        "model": answer.model,
        "finish_reason": answer.finish_reason,
        "latency_ms": answer.latency_ms,
        "tokens": usage.total_tokens if usage else None,
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else None,
    }


def _content(turn: TurnResult) -> dict[str, Any]:
    """As the history has it: of what was erased there is nothing."""
    asked, outcome = turn.rows[0], turn.outcome
    return {
        "user": asked.username,
        "said": asked.content if asked.kind in ("message", "prompt") else None,
        "answer": outcome.content if isinstance(outcome, Answer) else None,
    }


def _without_what_was_said(error: str, request: Request) -> str:
    """Providers quote what they dislike, and we an unknown persona's name."""
    match request.command:
        case Chat(text=said) | Complete(text=said):
            said = said.strip()
        case SetPersona(name=said):
            said = said[:40]  # as `Personas` quotes it
        case _:
            return error
    if _shows_content or not 0 < len(said) <= len(error):
        return error
    return re.sub(rf"(?<!\w){re.escape(said)}(?!\w)", "[...]", error)
