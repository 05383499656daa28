"""What a message asks of a channel, as small frozen records named after the act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import orjson


@dataclass(frozen=True, slots=True)
class Chat:
    """A turn of the conversation. None leaves a choice to persona and configuration."""

    text: str
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    persona: str | None = None
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Complete:
    """One raw completion, outside of any conversation."""

    text: str
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    persona: str | None = None
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """Start the conversation afresh."""


@dataclass(frozen=True, slots=True)
class SetPersona:
    name: str


@dataclass(frozen=True, slots=True)
class ShowPersonas:
    """List the personas and say which one the channel uses."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Cut off the answer being written; overtakes everything that waits."""


@dataclass(frozen=True, slots=True)
class Help:
    """Say which commands there are."""


Command: TypeAlias = Chat | Complete | Reset | SetPersona | ShowPersonas | Stop | Help

_KINDS: dict[str, type[Command]] = {
    kind.__name__: kind for kind in (Chat, Complete, Reset, SetPersona, ShowPersonas, Stop, Help)
}


def encode(command: Command) -> bytes:
    """A command as it stands in the durable mailbox."""
    return bytes(memoryview(orjson.dumps([type(command).__name__, command])))


def decode(body: bytes) -> Command:
    """What `encode` made, back as a record."""
    name, values = orjson.loads(body)
    return _KINDS[name](**values)
