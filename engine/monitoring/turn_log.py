"""The observer that logs each message and each turn as one event, by default without content."""

from __future__ import annotations

import logging
from typing import Any

from engine.commands.observer import SettledTurn, TurnObserver
from engine.commands.outcomes import Answer, Failure
from engine.commands.records import Chat, Complete, SetModel, SetPersona
from engine.commands.request import Request
from engine.config.allowed_models import SHOWN
from engine.errors import Cancelled
from engine.monitoring.event import LogEvent
from providers.quotes import without_quote
from storage.history import Row
from storage.row_kinds import KINDS

log = logging.getLogger("rosey_llm.turn")


class TurnLog(TurnObserver):
    """An observer that logs one event for each message and each turn.

    shows_content: whether user names, messages and answers are logged.
    failed_level: the level of failed turns; less than a warning if the caller gets an exception.
    """

    def __init__(self, *, shows_content: bool = False, failed_level: int = logging.WARNING) -> None:
        self.shows_content = shows_content
        self._failed_level = failed_level

    def accepted(self, request: Request, ahead: int) -> None:
        if not log.isEnabledFor(logging.DEBUG):
            return
        fields: dict[str, Any] = {"channel": request.channel_id, "request_id": request.request_id}
        command = request.command
        if self.shows_content:
            said = command.text if isinstance(command, Chat | Complete) else None
            fields |= {"user": request.username, "said": said}
        name = type(command).__name__.lower()
        log.debug(LogEvent("message.accepted", fields | {"command": name}))

    def refused(self, channel_id: str, request_id: str, code: str) -> None:
        if not log.isEnabledFor(logging.DEBUG):
            return
        fields = {"channel": channel_id, "request_id": request_id, "code": code}
        log.debug(LogEvent("message.refused", fields))

    def settled(self, turn: SettledTurn) -> None:
        if turn.request is None or not turn.rows:
            return
        row = turn.rows[-1]
        level = self._level(turn.outcome, row)
        if log.isEnabledFor(level):
            log.log(level, self._settled(turn, turn.request, row))

    def _level(self, outcome: Answer | Failure, row: Row) -> int:
        if KINDS[row.kind].is_quiet:
            return logging.DEBUG
        if isinstance(outcome, Answer) or outcome.code == Cancelled.code:
            return logging.INFO
        return self._failed_level

    def _settled(self, turn: SettledTurn, request: Request, row: Row) -> LogEvent:
        outcome = turn.outcome
        details = row.details or {}
        started_ms = details.get("started_ms")
        fields = {
            "channel": request.channel_id,
            "request_id": request.request_id,
            "duration_ms": max(0, turn.settled_ms - turn.accepted_ms),
            "queued_ms": max(0, started_ms - turn.accepted_ms) if started_ms else None,
            "waited_ms": details.get("waited_ms"),
            "attempts": details.get("attempts"),
            "persona": row.persona,
        }
        if isinstance(outcome, Answer):
            name = KINDS[row.kind].event or "turn.answered"
            fields |= _answer(outcome)
        elif outcome.code == Cancelled.code:
            name = "turn.cancelled"
        else:
            name = "turn.failed"
            error = row.content  # in English, also if the room was told in its own words
            if not self.shows_content:
                error = _without_content(error, request)
            fields |= {"provider": row.provider, "code": outcome.code, "error": error}
        if self.shows_content:
            fields |= _content(turn)
        return LogEvent(name, fields)


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


def _content(turn: SettledTurn) -> dict[str, Any]:
    """Return user, message and answer, from the history rows: an erased turn has none there."""
    asked, outcome = turn.rows[0], turn.outcome
    return {
        "user": asked.username,
        "said": asked.content if KINDS[asked.kind].style == "asked" else None,
        "answer": outcome.content if isinstance(outcome, Answer) else None,
    }


def _without_content(error: str, request: Request) -> str:
    """Return an error without its quotes: of the message, or of a persona's or a model's name."""
    match request.command:
        case Chat(text=said) | Complete(text=said):
            pass
        case SetPersona(name=said):
            said = said[:40]  # as `Personas` quotes it
        case SetModel(name=said):
            said = said[:SHOWN]
        case _:
            return error
    return without_quote(error, said)
