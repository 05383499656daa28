"""A selection of history rows: by channel, user and time."""

from __future__ import annotations

from dataclasses import dataclass

from storage.queries import row_times


@dataclass(frozen=True, slots=True)
class Selection:
    """A filter for rows of the history; a field that is None matches everything.

    username: who wrote the message, or whom an outcome answers; in any case.
    user_id: the platform's id of that user.
    since_ms, until_ms: the first moment, and the first one after the last; of a message, the
        moment is that of its acceptance.
    """

    channel_id: int | None = None
    username: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    user_id: str | None = None

    @property
    def where(self) -> tuple[str, tuple[int | str, ...]]:
        """An SQL condition on `history h`, and its parameters."""
        return self.conditions()

    def conditions(self, schema: str = "") -> tuple[str, tuple[int | str, ...]]:
        """Return `where` for a history in the database that is attached as `schema`."""
        time_ms = row_times.time_ms(schema)
        conditions: dict[str, int | str | None] = {
            "h.channel_id = ?": self.channel_id,
            "h.username = ? COLLATE NOCASE": self.username,
            "json_extract(h.personal, '$.user_id') = ?": self.user_id,
            f"{time_ms} >= ?": self.since_ms,
            f"{time_ms} < ?": self.until_ms,
        }
        asked = {text: value for text, value in conditions.items() if value is not None}
        return " AND ".join(["1", *asked]), tuple(asked.values())
