"""Estimates how long a refused sender should wait: the figure of `retry_after_s`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

SHORTEST_S = 1.0
LONGEST_S = 60.0
JITTER = 0.25
WEIGHT = 0.2  # of the newest turn in the moving averages
FIRST_GUESS_S = 1.0  # for a turn, before one has ended
UNKNOWN_S = 5.0  # until the disk, or the engine, can take messages again


class WaitEstimate:
    """Moving averages of what turns take, over all channels; a channel keeps its own.

    turn_s: seconds from the start of a turn to its end; None if none has ended yet.
    clock, chance: seconds, and a number from 0 to 1; tests replace them.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.clock = clock
        self.turn_s: float | None = None
        self._chance = chance
        self._gap_s: float | None = None
        self._since_s = 0.0

    def work_began(self) -> None:
        """Note the first command after a time without any: it says nothing of the pace."""
        self._since_s = self.clock()

    def command_ended(self) -> None:
        """Note that a command, of any channel, has ended."""
        now_s = self.clock()
        self._gap_s = _moved(self._gap_s, now_s - self._since_s)
        self._since_s = now_s

    def turn_took(self, seconds: float, own_s: float | None) -> float:
        """Note a turn; return the new average of its channel, whose old one is `own_s`."""
        self.turn_s = _moved(self.turn_s, seconds)
        return _moved(own_s, seconds)

    def for_channel(self, commands: int, own_s: float | None, running_s: float) -> float:
        """Return what to tell if so many commands of a channel are ahead.

        running_s: how long its turn has been running, which may be longer than all before it.
        """
        turn_s = next((each for each in (own_s, self.turn_s) if each is not None), FIRST_GUESS_S)
        return self.told(commands * max(turn_s, running_s))

    def for_engine(self, commands: int) -> float:
        """Return what to tell if the engine has so many commands; channels work side by side."""
        if self._gap_s is None:
            return self.told(UNKNOWN_S)
        return self.told(commands * max(self._gap_s, self.clock() - self._since_s))

    def told(self, expected_s: float = UNKNOWN_S) -> float:
        """Return about `expected_s`, at least 1 s and at most 60 s."""
        return self.spread(min(max(expected_s, SHORTEST_S), LONGEST_S / (1 + JITTER)))

    def spread(self, seconds: float) -> float:
        """Return up to a quarter more: senders refused together must not all come back together."""
        return round(seconds * (1 + JITTER * self._chance()), 1)


def _moved(average: float | None, newest: float) -> float:
    if newest > LONGEST_S:  # a turn may have waited hours for a full disk
        newest = LONGEST_S
    return newest if average is None else average + WEIGHT * (newest - average)
