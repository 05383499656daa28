"""A prompt whose messages are already encoded as JSON, the form in which providers get them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import orjson

from providers.base import Message


class EncodedPrompt(Sequence[Message]):
    """A sequence of messages that is stored as JSON and decoded only when it is read.

    encoded: an array of `count` objects with `role` and `content`, without white space.
    """

    __slots__ = ("_count", "_messages", "encoded")

    def __init__(self, encoded: bytes, count: int) -> None:
        self.encoded = encoded
        self._count = count
        self._messages: list[Message] | None = None

    @classmethod
    def of(cls, messages: Sequence[Message]) -> EncodedPrompt:
        if isinstance(messages, EncodedPrompt):
            return messages
        return cls(orjson.dumps(list(messages)), len(messages))

    @property
    def fragment(self) -> orjson.Fragment:
        """The JSON, for use inside an object that orjson encodes."""
        return orjson.Fragment(self.encoded)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Message]:
        return iter(self._decoded())

    @overload
    def __getitem__(self, index: int) -> Message: ...

    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...

    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        return self._decoded()[index]

    def _decoded(self) -> list[Message]:
        if self._messages is None:
            self._messages = [Message(**message) for message in orjson.loads(self.encoded)]
        return self._messages
