"""Where outcomes leave the engine: NATS, or a caller in the same process."""

from __future__ import annotations

from typing import Protocol

from engine.outcomes import Failure
from storage.mailboxes import Settled


class Outlet(Protocol):
    """Calls return at once; none of them may raise."""

    def publish(self, outcome: Settled) -> None:
        """Send a committed outcome, in the order of the calls, and have it marked as published.

        Only the store makes `Settled`, and only after the commit: that is the output gate.
        """

    def refuse(self, failure: Failure, replies: tuple[str, ...]) -> None:
        """Say that a message was not accepted; nothing of it is on disk."""

    def delta(self, channel_id: str, request_id: str, index: int, text: str) -> bool:
        """Send a piece of a growing answer; False where it cannot go out now."""
