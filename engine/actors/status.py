"""What is to be seen of an actor from outside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """`doing` is the command in hand ("Chat", "Reset", ...), begun at `doing_since_ms`; `waiting`
    commands stand behind it, the oldest accepted at `oldest_ms` (wall clock). `turns` have ended
    since the actor was spawned. `suspended_s`: how much longer it rests.
    """

    channel_id: str
    doing: str | None
    doing_since_ms: int | None
    waiting: int
    oldest_ms: int | None
    turns: int
    suspended_s: float
