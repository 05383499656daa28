"""What a message asks of a channel, as small frozen records named after the act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import orjson

from providers.trace import TraceContext


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


@dataclass(frozen=True, slots=True)
class Erased:
    """What is left of a command that was erased while it waited. Nobody can send one."""


Command: TypeAlias = Chat | Complete | Reset | SetPersona | ShowPersonas | Stop | Help | Erased

_KINDS: dict[str, type[Command]] = {
    kind.__name__: kind
    for kind in (Chat, Complete, Reset, SetPersona, ShowPersonas, Stop, Help, Erased)
}


def encode(command: Command, trace: TraceContext | None = None) -> bytes:
    """A command as it stands in the durable mailbox, and the trace that it belongs to."""
    more = [trace.headers] if trace is not None else []
    return bytes(memoryview(orjson.dumps([type(command).__name__, command, *more])))


def decode(body: bytes) -> Command:
    """What `encode` made, back as a record."""
    name, values, *_ = orjson.loads(body)
    return _KINDS[name](**values)


def decode_trace(body: bytes) -> TraceContext | None:
    """The trace that `encode` put in, if any."""
    _, _, *more = orjson.loads(body)
    return TraceContext(**more[0]) if more else None
