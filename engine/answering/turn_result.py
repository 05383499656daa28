"""The result of a turn: the outcome to publish, and the history rows to store with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from engine.accounting.accounts import without_user
from engine.answering.prompt_forms import shown_name
from engine.commands.ledger import DropOutcome, StopOutcome
from engine.commands.outcomes import Answer, Failure
from engine.commands.records import Chat, Complete, Erased
from engine.commands.request import Request
from engine.config.allowed_models import ChosenModel
from engine.errors import Cancelled, RoomError
from engine.texts import sentences
from engine.texts.sentence import Said
from engine.texts.texts import Texts
from storage.history import Row
from storage.row_kinds import Kind
from storage.usage import Charge


class TurnResult(NamedTuple):
    """A turn's outcome, its history rows, and what it cost if a model was asked."""

    outcome: Answer | Failure
    rows: tuple[Row, ...]
    charges: tuple[Charge, ...] = ()


def done(
    request: Request,
    kind: Kind,
    said: Said,
    texts: Texts,
    persona: str | None = None,
    used: ChosenModel | None = None,
) -> TurnResult:
    """Return the result of a command that was carried out without a model.

    used: the model that answers in the channel from now on, if the command is about it.
    """
    assert request.action is not None  # noqa: S101 -- only an erased command has none
    outcome = Answer(
        channel_id=request.channel_id,
        request_id=request.request_id,
        action=request.action,
        content=texts.say(request.channel_id, said),
        username=request.username,
        persona=persona,
        provider=None if used is None else used.provider,
        model=None if used is None else used.model,
    )
    row = Row(
        kind, request.request_id, request.username, persona=persona, personal=request.personal
    )
    return TurnResult(outcome, (row,))


def failed(
    request: Request,
    exc: RoomError,
    texts: Texts,
    kind: Kind = "error",
    charges: tuple[Charge, ...] = (),
) -> TurnResult:
    """Return the result of a command that failed before a model was asked.

    Its rows have what the user wrote, too, and the error in English.

    charges: what earlier attempts cost.
    """
    error = texts.say(request.channel_id, exc.said)
    outcome = request.failure(exc.code, error, exc.retry_after_s)
    row = Row(
        kind,
        request.request_id,
        request.username,
        str(exc),
        code=exc.code,
        personal=request.personal,
    )
    if isinstance(request.command, Chat | Complete):
        return TurnResult(outcome, (user_row(request, request.command), row), charges)
    return TurnResult(outcome, (row,), charges)


def erased(request: Request, texts: Texts, charges: Iterable[Charge] = ()) -> TurnResult:
    """Return the result of a command that was erased before its turn ended.

    charges: what it cost by then.
    """
    outcome = erased_outcome(request.channel_id, request.request_id, texts)
    row = Row("cancelled", request.request_id, code=Cancelled.code)
    return TurnResult(outcome, (row,), tuple(map(without_user, charges)))


def erased_outcome(channel_id: str, request_id: str, texts: Texts) -> Failure:
    """Return what a sender is told of a message that was erased."""
    error = texts.say(channel_id, sentences.MESSAGE_ERASED())
    return Failure(channel_id, request_id, Cancelled.code, error)


def stopped(
    stop: Request, texts: Texts, drops: Sequence[DropOutcome] = (), *, cut: bool
) -> StopOutcome:
    """Return the outcome of a stop. cut: whether it ended an answer."""
    said = sentences.STOPPED()
    if drops:
        with_drops = sentences.STOPPED_AND_DROPPED if cut else sentences.DROPPED
        said = with_drops(number=len(drops))
    text = texts.say(stop.channel_id, said)
    answer = Answer(stop.channel_id, stop.request_id, "stop", text, stop.username)
    row = Row("stop", stop.request_id, stop.username, personal=stop.personal)
    return StopOutcome(stop, answer, row, drops)


def dropped(request: Request, texts: Texts, charges: tuple[Charge, ...] = ()) -> TurnResult:
    """Return the result of a waiting command that a stop drops.

    charges: what earlier attempts cost.
    """
    if isinstance(request.command, Erased):
        return erased(request, texts, charges)
    said = sentences.MESSAGE_DROPPED(name=shown_name(request.username))
    return failed(request, Cancelled(said), texts, "cancelled", charges)


def nothing_to_stop(stop: Request, texts: Texts) -> Answer:
    """Return the answer to a stop that stops nothing; it is not stored."""
    text = texts.say(stop.channel_id, sentences.NOTHING_TO_STOP())
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
