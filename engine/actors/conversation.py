"""A channel's conversation: its persona, its model, and its window. Pure state, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from engine.answering.prompt_forms import EncodedExchange
from engine.config.allowed_models import ChosenModel
from storage.history import PastRow, Row


class SmallerWindow(ValueError):
    """A snapshot was taken with a smaller window, so it lacks messages."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A user's message and its answer."""

    username: str
    message: str
    answer: str

    @property
    def encoded(self) -> EncodedExchange:
        return _encoded(self.username, self.message, self.answer)


@dataclass(slots=True)
class Conversation:
    """The state of a channel after its history row `upto`; only committed rows change it.

    window: the most messages it holds; only whole pairs of message and answer are kept.
    persona: None until the channel switches its persona for the first time.
    model: None unless the channel has chosen one; it may not be allowed any more.
    messages: the number of messages in the window.

    The exchanges are packed into bytes, three lines each (username, message, answer), every line a
    JSON string, which has no line breaks. That saves memory with thousands of channels, most of
    them quiet, and prompts are made of JSON anyway.
    """

    window: int
    persona: str | None = None
    upto: int = 0
    messages: int = 0
    model: ChosenModel | None = None
    _packed: bytes = b""

    @property
    def encoded(self) -> list[EncodedExchange]:
        """The exchanges as JSON strings for a prompt, oldest first."""
        lines = iter(self._packed.split(b"\n"))
        return list(zip(lines, lines, lines, strict=False))

    @property
    def exchanges(self) -> list[Exchange]:
        """The exchanges as texts, oldest first."""
        return [Exchange(*map(orjson.loads, exchange)) for exchange in self.encoded]

    def answered(self, username: str, message: str, answer: str) -> None:
        """Add a message and its answer; drop the oldest pairs if the window is full."""
        self._packed += b"%b\n%b\n%b\n" % _encoded(username, message, answer)
        self.messages += 2
        if (surplus := (self.messages - self.window + 1) // 2) > 0:
            self._packed = self._packed.split(b"\n", 3 * surplus)[-1]
            self.messages -= 2 * surplus

    def reset(self) -> None:
        self._packed, self.messages = b"", 0

    def replay(self, rows: Iterable[PastRow | Row]) -> None:
        """Apply history rows, oldest first.

        A message counts only if the next row is its answer.
        """
        asked: tuple[str, str] | None = None
        for row in rows:
            match row.kind:
                case "message":
                    asked = (row.username or "User", row.content)
                    continue
                case "answer" if asked:
                    self.answered(*asked, row.content)
                case "reset":
                    self.reset()
                case "persona":
                    self.persona = row.persona
                case "model":
                    self.model = _chosen(row.provider, row.model)
                case _:
                    pass
            asked = None

    def encode(self) -> bytes:
        """Return the body of a snapshot."""
        exchanges = b",".join([b"[%b]" % b",".join(exchange) for exchange in self.encoded])
        persona = orjson.dumps(self.persona)
        model = b"" if self.model is None else b'"model":%b,' % orjson.dumps([*self.model])
        values = self.window, persona, model, exchanges
        return b'{"window":%d,"persona":%b,%b"exchanges":[%b]}' % values

    @classmethod
    def decode(cls, body: bytes, window: int) -> Conversation:
        """Return the conversation in a snapshot's body, cut to `window`.

        Raises ValueError if the body is damaged, SmallerWindow if its window was smaller.
        """
        try:
            values = orjson.loads(body)
            conversation = cls(window, values["persona"])
            provider, model = values.get("model") or (None, None)
            conversation.model = _chosen(provider, model)
            for username, message, answer in values["exchanges"]:
                conversation.answered(_text(username), _text(message), _text(answer))
        except (TypeError, KeyError, ValueError) as exc:
            raise ValueError(f"the snapshot is damaged ({exc})") from exc
        if values.get("window", 0) < window:
            raise SmallerWindow("the snapshot was taken with a smaller window")
        return conversation


def _encoded(username: str, message: str, answer: str) -> EncodedExchange:
    return orjson.dumps(username), orjson.dumps(message), orjson.dumps(answer)


def _chosen(provider: object, model: object) -> ChosenModel | None:
    """Return the model that a row or a snapshot names; None for the configured one."""
    return ChosenModel(_text(provider), _text(model)) if provider and model else None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
