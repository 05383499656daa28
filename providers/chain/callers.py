"""Whether more than one channel called a provider lately."""

from __future__ import annotations

LATELY_S = 60.0


class Callers:
    """The channels that called within the last minute, as far as it matters: one, or more.

    However many call, it keeps only the latest caller, and when another channel called before it.
    """

    __slots__ = ("_latest", "_latest_s", "_other_s")

    def __init__(self) -> None:
        self._latest: str | None = None
        self._latest_s = self._other_s = float("-inf")

    def note(self, channel: str, now_s: float) -> None:
        if channel != self._latest:
            self._other_s = self._latest_s
            self._latest = channel
        self._latest_s = now_s

    def are_several(self, now_s: float) -> bool:
        return now_s - self._other_s <= LATELY_S
