"""ChannelStatus: a channel's actor as operators see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """A channel's actor as seen from outside; times are wall-clock milliseconds.

    doing: the name of the running command ("Chat", "Reset", ...), running since `doing_since_ms`.
    waiting: the number of commands that wait behind it, the oldest accepted at `oldest_ms`.
    turns: the number of turns that have ended since the actor was spawned.
    suspended_s: the seconds until the actor's suspension ends; 0.0 if it is not suspended.
    """

    channel_id: str
    doing: str | None
    doing_since_ms: int | None
    waiting: int
    oldest_ms: int | None
    turns: int
    suspended_s: float
