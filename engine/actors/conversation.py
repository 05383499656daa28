"""What a channel knows: its persona and the window of its conversation. Pure state, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from engine.answering.prompt import EncodedExchange
from storage.history import Kind


class SmallerWindow(ValueError):
    """A snapshot lacks messages that would be shown now."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A user's message and the answer it got."""

    username: str
    message: str
    answer: str

    @property
    def encoded(self) -> EncodedExchange:
        return _encoded(self.username, self.message, self.answer)


@dataclass(slots=True)
class Conversation:
    """State as history gives it up to row `upto`; it changes only by what history has committed.

    `persona` is None until the channel switches for the first time. The `messages` of its window
    are packed: thousands of channels are in memory, few of them speak at a time, and a prompt is
    made of JSON anyway. Username, message and answer are a line each: JSON strings have no breaks.
    """

    window: int
    persona: str | None = None
    upto: int = 0
    messages: int = 0
    _packed: bytes = b""

    @property
    def encoded(self) -> list[EncodedExchange]:
        """The exchanges, oldest first, ready for a prompt."""
        lines = iter(self._packed.split(b"\n"))
        return list(zip(lines, lines, lines, strict=False))

    @property
    def exchanges(self) -> list[Exchange]:
        """For whoever reads them, oldest first."""
        return [Exchange(*map(orjson.loads, exchange)) for exchange in self.encoded]

    def answered(self, username: str, message: str, answer: str) -> None:
        """A turn ended with an answer. The window holds whole pairs, the newest ones."""
        self._packed += b"%b\n%b\n%b\n" % _encoded(username, message, answer)
        self.messages += 2
        if (surplus := (self.messages - self.window + 1) // 2) > 0:
            self._packed = self._packed.split(b"\n", 3 * surplus)[-1]
            self.messages -= 2 * surplus

    def reset(self) -> None:
        self._packed, self.messages = b"", 0

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
        exchanges = b",".join([b"[%b]" % b",".join(exchange) for exchange in self.encoded])
        persona = orjson.dumps(self.persona)
        return b'{"window":%d,"persona":%b,"exchanges":[%b]}' % (self.window, persona, exchanges)

    @classmethod
    def decode(cls, body: bytes, window: int) -> Conversation:
        """A snapshot's body, back as state.

        ValueError where it is damaged, SmallerWindow where it was taken with one.
        """
        try:
            values = orjson.loads(body)
            conversation = cls(window, values["persona"])
            for username, message, answer in values["exchanges"]:
                conversation.answered(_text(username), _text(message), _text(answer))
        except (TypeError, KeyError, ValueError) as exc:
            raise ValueError(f"its snapshot is damaged ({exc})") from exc
        if values.get("window", 0) < window:
            raise SmallerWindow("its snapshot was taken with a smaller window")
        return conversation


def _encoded(username: str, message: str, answer: str) -> EncodedExchange:
    return orjson.dumps(username), orjson.dumps(message), orjson.dumps(answer)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
