"""A command with its sender, its channel, and the reply subjects for its outcome."""

from __future__ import annotations

from typing import NamedTuple

from engine.commands.records import Command
from providers.trace import TraceContext


class Request(NamedTuple):
    """A command with its sender.

    replies: subjects that get the outcome in addition to the shared subjects.
    trace: the sender's trace, which the turn continues; None if the sender has none.
    """

    channel_id: str
    request_id: str
    username: str
    command: Command
    replies: tuple[str, ...] = ()
    trace: TraceContext | None = None
