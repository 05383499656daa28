"""Refusals: who hears that a request was refused, and with which text."""

from __future__ import annotations

from engine.commands.outcomes import OutcomeSink
from engine.commands.request import Request
from engine.errors import RoomError, TooManyCopies
from engine.texts.texts import Texts


def send(sink: OutcomeSink, request: Request, refusal: RoomError, texts: Texts) -> None:
    """Tell the sender that the request is refused; everybody hears it, unless it is private."""
    failure = request.refusal(refusal, texts)
    if request.is_bot:
        # Nobody may answer it: two bots that answer each other would never end.
        failure = failure._replace(error="")
    if isinstance(refusal, TooManyCopies):
        sink.refuse_copy(failure, request.replies)
    elif refusal.is_private or request.is_bot:
        sink.refuse_privately(failure, request.replies)
    else:
        sink.refuse(failure, request.replies)
