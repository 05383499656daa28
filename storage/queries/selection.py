"""Which rows of the history are asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Selection:
    """None is no limit. `since_ms` is the first moment, `until_ms` the first one after the last.

    `username`, in whatever case, is who wrote, and whom an outcome answered.
    """

    channel_id: int | None = None
    username: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def where(self) -> tuple[str, tuple[int | str, ...]]:
        """A condition on `history h`, and its parameters."""
        conditions: dict[str, int | str | None] = {
            "h.channel_id = ?": self.channel_id,
            "h.username = ? COLLATE NOCASE": self.username,
            "h.ts_ms >= ?": self.since_ms,
            "h.ts_ms < ?": self.until_ms,
        }
        asked = {text: value for text, value in conditions.items() if value is not None}
        return " AND ".join(["1", *asked]), tuple(asked.values())
