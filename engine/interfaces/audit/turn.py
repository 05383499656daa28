"""The turn page of the audit page: question and answer, the prompt, times and other details."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from datasette.app import Datasette
from datasette.utils.asgi import NotFound, Request, Response

from engine.interfaces.audit.reading import ask
from engine.interfaces.reports.prompt_rebuild import RebuiltPrompt, rebuild
from storage.queries.entries import HistoryEntry
from storage.queries.reader import Reader
from storage.queries.turn_by_id import LocatedTurn, turn_by_id


@dataclass(frozen=True, slots=True)
class TurnStep:
    """A moment in the life of a turn.

    - `ms`: when it was; None if unknown
    - `after_ms`: how long after the step before
    """

    name: str
    ms: int | None
    after_ms: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class TurnView:
    placed: LocatedTurn
    steps: list[TurnStep]
    prompt: RebuiltPrompt

    @property
    def asked(self) -> HistoryEntry | None:
        return self.placed.turn.asked

    @property
    def outcome(self) -> HistoryEntry:
        return self.placed.turn.outcome

    @property
    def details(self) -> dict[str, Any]:
        return self.outcome.details or {}

    @property
    def unchecked(self) -> str:
        """What `[safety]` let pass without a complete check."""
        subjects = ("message", "answer")
        return ", ".join(each for each in subjects if self.details.get(f"{each}_unchecked"))


async def page(datasette: Datasette, request: Request) -> Response:
    row_id = int(request.url_vars["turn"])
    shown = await ask(datasette, lambda reader: _view(reader, row_id))
    if shown is None:
        raise NotFound("There is no such turn.")
    context = {"shown": shown}
    return Response.html(await datasette.render_template("turn.html", context, request=request))


def _view(reader: Reader, row_id: int) -> TurnView | None:
    placed = turn_by_id(reader, row_id)
    if placed is None:
        return None
    return TurnView(placed, _steps(placed.turn.outcome), rebuild(reader, placed.turn))


def _steps(outcome: HistoryEntry) -> list[TurnStep]:
    """Return the steps accepted, started, ended and published, with the time between them."""
    details = outcome.details or {}
    waited_ms = details.get("waited_ms")
    moments: list[tuple[str, int | None, str]] = [
        ("Accepted", details.get("accepted_ms"), ""),
        ("Started", details.get("started_ms"), ""),
        (_ended(outcome), outcome.ts_ms, _waited(waited_ms)),
        ("Published", outcome.published_ms, ""),
    ]
    steps = []
    before_ms: int | None = None
    for name, ms, note in moments:
        after_ms = None if ms is None or before_ms is None else max(0, ms - before_ms)
        steps.append(TurnStep(name, ms, after_ms, note))
        before_ms = ms if ms is not None else before_ms
    return steps


def _ended(outcome: HistoryEntry) -> str:
    return {"answer": "Answered", "completion": "Answered", "error": "Failed"}.get(
        outcome.kind, "Stopped" if outcome.kind == "cancelled" else "Done"
    )


def _waited(waited_ms: int | None) -> str:
    return f"including {waited_ms} ms waiting for the provider" if waited_ms else ""
