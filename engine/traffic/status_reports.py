"""Status reports: tell the bots that ask for it where their requests are."""

from __future__ import annotations

from engine.commands.observer import SettledTurn, TurnObserver
from engine.commands.outcomes import RequestStatus, StatusState
from engine.commands.request import Request
from engine.traffic.publisher import Publisher


class StatusReports(TurnObserver):
    """An observer that publishes the states of the requests that ask for it.

    Best effort: what cannot be sent now is dropped, and a restart forgets who asked.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def accepted(self, request: Request, ahead: int) -> None:
        if request.status:
            self._report(request, "queued", ahead)

    def turn_started(self, request: Request, accepted_ms: int, provider: str) -> None:
        if request.status:
            self._report(request, "started")

    def settled(self, turn: SettledTurn) -> None:
        if turn.request is not None and turn.request.status:
            self._report(turn.request, "ended")

    def _report(self, request: Request, state: StatusState, ahead: int | None = None) -> None:
        channel_id, request_id, username, *_ = request
        self._publisher.status(RequestStatus(channel_id, request_id, username, state, ahead))
