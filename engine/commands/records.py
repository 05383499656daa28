"""The commands that a message can give, as small frozen records, and their stored form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, get_args

import orjson

from providers.trace import TraceContext


@dataclass(frozen=True, slots=True)
class Chat:
    """A message to the model. None means the default of the persona, else of the provider."""

    text: str
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    persona: str | None = None
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Complete:
    """A raw completion outside of any conversation."""

    text: str
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    persona: str | None = None
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """Start a new conversation."""


@dataclass(frozen=True, slots=True)
class SetPersona:
    name: str


@dataclass(frozen=True, slots=True)
class ShowPersonas:
    """List the personas and say which one the channel uses."""


@dataclass(frozen=True, slots=True)
class SetModel:
    """Switch the channel's model: "provider/model", a model alone, or "default"."""

    name: str


@dataclass(frozen=True, slots=True)
class ShowModel:
    """Say which model the channel uses, and which it may choose."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the answer that is being written, ahead of all waiting commands.

    The waiting commands of its sender are dropped; if `everything` is set, those of all senders.
    """

    everything: bool = False


@dataclass(frozen=True, slots=True)
class Help:
    """List the commands."""


@dataclass(frozen=True, slots=True)
class ShowUsage:
    """Say what the sender and the channel have used today."""


@dataclass(frozen=True, slots=True)
class Erased:
    """The replacement of a waiting command that was erased. No message can contain it."""


Command: TypeAlias = (
    Chat
    | Complete
    | Reset
    | SetPersona
    | ShowPersonas
    | SetModel
    | ShowModel
    | ShowUsage
    | Stop
    | Help
    | Erased
)

CONTROL = (Reset, SetPersona, ShowPersonas, SetModel, ShowModel, ShowUsage, Stop, Help)
"""The commands that ask no model; some places are kept for them (`engine/actors/mailbox.py`)."""

BY_PROGRAM = "program"

_KINDS: dict[str, type[Command]] = {kind.__name__: kind for kind in get_args(Command)}


def encode(
    command: Command, trace: TraceContext | None = None, *, by_program: bool = False
) -> bytes:
    """Return the command, its trace, and by whom it came, as stored in the durable mailbox."""
    more = [trace.headers if trace is not None else None, BY_PROGRAM][: 1 + by_program]
    stored = [type(command).__name__, command, *(more if by_program or trace else ())]
    return bytes(memoryview(orjson.dumps(stored)))


def decode(body: bytes) -> Command:
    """Return the command that `encode` was given."""
    name, values, *_ = orjson.loads(body)
    return _KINDS[name](**values)


def decode_trace(body: bytes) -> TraceContext | None:
    """Return the trace that `encode` was given."""
    _, _, *more = orjson.loads(body)
    return TraceContext(**more[0]) if more and more[0] is not None else None


def decode_by_program(body: bytes) -> bool:
    """Return whether `encode` was told that a program sent the command."""
    _, _, *more = orjson.loads(body)
    return BY_PROGRAM in more[1:]
