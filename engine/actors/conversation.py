"""What a channel knows: its persona and the window of its conversation. Pure state, no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson

from storage.history import Kind


class SmallerWindow(ValueError):
    """A snapshot lacks messages that would be shown now."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A user's message and the answer it got."""

    username: str
    message: str
    answer: str


@dataclass(slots=True)
class Conversation:
    """State as history gives it up to row `upto`; it changes only by what history has committed.

    `persona` is None until the channel switches for the first time.
    """

    window: int
    persona: str | None = None
    exchanges: deque[Exchange] = field(default_factory=deque)
    upto: int = 0

    @property
    def messages(self) -> int:
        return 2 * len(self.exchanges)

    def answered(self, username: str, message: str, answer: str) -> None:
        """A turn ended with an answer. The window holds whole pairs, the newest ones."""
        self.exchanges.append(Exchange(username, message, answer))
        while self.messages > self.window:
            self.exchanges.popleft()

    def reset(self) -> None:
        self.exchanges.clear()

    def replay(self, rows: Iterable[tuple[Kind, str | None, str, str | None]]) -> None:
        """Apply history rows (kind, username, content, persona), oldest first.

        A message counts only where its answer stands right behind it.
        """
        asked: tuple[str, str] | None = None
        for kind, username, content, persona in rows:
            match kind:
                case "message":
                    asked = (username or "User", content)
                    continue
                case "answer" if asked:
                    self.answered(*asked, content)
                case "reset":
                    self.reset()
                case "persona":
                    self.persona = persona
                case _:
                    pass
            asked = None

    def encode(self) -> bytes:
        """The body of a snapshot."""
        exchanges = [(e.username, e.message, e.answer) for e in self.exchanges]
        return orjson.dumps(
            {"window": self.window, "persona": self.persona, "exchanges": exchanges}
        )

    @classmethod
    def decode(cls, body: bytes, window: int) -> Conversation:
        """A snapshot's body, back as state.

        ValueError where it is damaged, SmallerWindow where it was taken with one.
        """
        try:
            values = orjson.loads(body)
            conversation = cls(window, values["persona"])
            for username, message, answer in values["exchanges"]:
                conversation.answered(username, message, answer)
        except (TypeError, KeyError, ValueError) as exc:
            raise ValueError(f"its snapshot is damaged ({exc})") from exc
        if values.get("window", 0) < window:
            raise SmallerWindow("its snapshot was taken with a smaller window")
        return conversation
