"""A command as a sender asked for it: who asked, in which channel, and where the outcome goes."""

from __future__ import annotations

from typing import NamedTuple

from engine.commands.records import Command
from providers.trace import TraceContext


class Request(NamedTuple):
    """A command with its sender.

    replies: reply subjects that also get the outcome, besides the shared subjects.
    trace: the sender's trace, which the turn continues; None if the sender has none.
    """

    channel_id: str
    request_id: str
    username: str
    command: Command
    replies: tuple[str, ...] = ()
    trace: TraceContext | None = None
