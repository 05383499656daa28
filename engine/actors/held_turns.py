"""The turns that wait until the database can be written again; meanwhile nothing is accepted."""

from __future__ import annotations

import logging
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import Unwritable
from engine.texts import sentences

if TYPE_CHECKING:
    from engine.actors.running_turn import RunningTurn
    from engine.actors.wait_estimate import WaitEstimate
    from storage.errors import StorageUnavailable

log = logging.getLogger("rosey_llm.supervisor")


class HeldTurns:
    """The turns of all channels that cannot be stored now, such as answers on a full disk.

    A full disk may still take small writes. A message that it takes would wait in silence behind
    a held answer, so none is accepted.

    path: of the database. waits: what refused senders are told.
    reason: why the latest turn is held; "" if none is.
    """

    def __init__(self, path: Path | None, waits: WaitEstimate) -> None:
        self.path = path
        self._waits = waits
        self.reason = ""
        self._turns: set[RunningTurn] = set()

    def __len__(self) -> int:
        return len(self._turns)

    def check(self) -> None:
        """Raise Unwritable if a turn is held."""
        if self._turns:
            wait_s = self._waits.told()
            said = sentences.TURN_HELD(error=self.reason, seconds=ceil(wait_s))
            raise Unwritable(said, retry_after_s=wait_s)

    def hold(self, turn: RunningTurn, error: StorageUnavailable) -> None:
        """Note that a turn waits for the database."""
        if not self._turns:
            log.error(
                "A turn cannot be stored in %(path)s, and is held until it can: %(error)s. Free"
                " some space on its disk. Until then every message gets `busy`.",
                {
                    "event": "storage.turn_held",
                    "path": self.path,
                    "error": error,
                    "channel": turn.envelope.request.channel_id,
                    "request_id": turn.envelope.request.request_id,
                },
            )
        self._turns.add(turn)
        self.reason = str(error)

    def release(self, turn: RunningTurn) -> None:
        """Note that a turn waits no longer."""
        if turn not in self._turns:
            return
        self._turns.discard(turn)
        if not self._turns:
            self.reason = ""
            log.warning(
                "No turn is held any more; messages are accepted again.",
                {"event": "storage.turns_released"},
            )
