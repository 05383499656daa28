"""The result of a turn: the outcome to publish, and the history rows to store with it."""

from __future__ import annotations

from typing import NamedTuple

from engine.accounting.accounts import without_user
from engine.commands import words
from engine.commands.ledger import StopOutcome
from engine.commands.outcomes import Action, Answer, Failure
from engine.commands.records import Chat, Complete
from engine.commands.request import Request
from engine.errors import Cancelled, EngineError
from storage.history import Row
from storage.row_kinds import Kind
from storage.usage import Charge

ERASED = "This message was erased."


class TurnResult(NamedTuple):
    """A turn's outcome, its history rows, and what it cost if it asked a model."""

    outcome: Answer | Failure
    rows: tuple[Row, ...]
    charge: Charge | None = None


def done(
    request: Request, action: Action, text: str, kind: Kind, persona: str | None = None
) -> TurnResult:
    """Return the result of a command that was carried out without a model."""
    outcome = Answer(
        channel_id=request.channel_id,
        request_id=request.request_id,
        action=action,
        content=text,
        username=request.username,
        persona=persona,
    )
    row = Row(
        kind, request.request_id, request.username, persona=persona, personal=request.personal
    )
    return TurnResult(outcome, (row,))


def failed(request: Request, exc: EngineError) -> TurnResult:
    """Return the result of a command that failed before a model was asked.

    Its rows have what the user wrote, too.
    """
    outcome = request.failure(exc.code, str(exc), exc.retry_after_s)
    row = Row(
        "error",
        request.request_id,
        request.username,
        str(exc),
        code=exc.code,
        personal=request.personal,
    )
    if isinstance(request.command, Chat | Complete):
        return TurnResult(outcome, (user_row(request, request.command), row))
    return TurnResult(outcome, (row,))


def erased(request: Request, charge: Charge | None = None) -> TurnResult:
    """Return the result of a command that was erased before its turn ended.

    charge: what it cost by then.
    """
    outcome = Failure(request.channel_id, request.request_id, Cancelled.code, ERASED)
    row = Row("cancelled", request.request_id, code=Cancelled.code)
    return TurnResult(outcome, (row,), without_user(charge))


def stopped(stop: Request) -> StopOutcome:
    """Return the outcome of a stop that ended a turn."""
    answer = Answer(stop.channel_id, stop.request_id, "stop", words.STOPPED, stop.username)
    row = Row("stop", stop.request_id, stop.username, personal=stop.personal)
    return StopOutcome(stop, answer, row)


def nothing_to_stop(stop: Request) -> Answer:
    """Return the answer to a stop that stops nothing; it is not stored."""
    text = words.NOTHING_TO_STOP
    return Answer(stop.channel_id, stop.request_id, "stop", text, stop.username)


def user_row(request: Request, command: Chat | Complete, persona: str | None = None) -> Row:
    """Return the history row with what the user wrote."""
    kind: Kind = "message" if isinstance(command, Chat) else "prompt"
    return Row(
        kind,
        request.request_id,
        request.username,
        command.text,
        persona,
        personal=request.personal,
    )
