"""TurnObserver: the interface for counters, logs and traces of commands, turns and channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from engine.commands.outcomes import Answer, Failure
from engine.commands.request import Request
from storage.history import Row
from storage.usage import Charge

PassivationCause = Literal["idle", "limit", "drain"]

CHECK_RESULTS = ("passed", "denied", "flagged", "unchecked")
"""The results of a check by `[safety]`; "unchecked" if it could not be finished."""


class SettledTurn(NamedTuple):
    """A turn whose outcome is committed. Times are wall-clock milliseconds.

    request: None if the stored command cannot be read (another version accepted it).
    rows: the history rows of the turn; empty if this attempt did not write them, because the
        outcome was committed before a crash or by an operation that ended the command.
    charges: what it cost, as counted in the same commit.
    """

    request: Request | None
    outcome: Answer | Failure
    rows: tuple[Row, ...]
    accepted_ms: int
    started_ms: int
    settled_ms: int
    charges: tuple[Charge, ...] = ()


class TurnObserver:
    """An observer of the engine's events; this base class ignores all of them.

    All methods return at once and never raise. They are called in the event loop as soon as the
    engine knows of an event; only `committed` is called in the database's thread.
    """

    def accepted(self, request: Request, ahead: int) -> None:
        """A command is durably in its channel's mailbox, with so many of others ahead of it."""

    def refused(self, channel_id: str, request_id: str, code: str) -> None:
        """A message was refused; `code` is one of `llm.error`."""

    def limited(self, limit: str, scope: str) -> None:
        """A message was refused by this limit of `[limits]`, a user's or a channel's."""

    def unstored(self, channel_id: str, request_id: str) -> None:
        """A command could not be stored; its sender gets an error."""

    def repeated(self, request: Request) -> None:
        """A request was sent again; it gets the outcome of the first one."""

    def settled_at_once(self, request: Request) -> None:
        """A command that never waits (a stop) has its outcome."""

    def recovered(self, commands: int) -> None:
        """This process took over so many commands that an earlier one had accepted."""

    def turn_started(self, request: Request, accepted_ms: int, provider: str) -> None:
        """A turn begins, possibly again after a crash.

        provider: the first to be called, unless the channel has chosen a model of another one.
        """

    def model_asked(
        self,
        request: Request,
        provider: str,
        model: str,
        temperature: float,
        max_tokens: int | None,
    ) -> None:
        """The provider is about to be called with these settings."""

    def checked(self, subject: str, result: str) -> None:
        """A "message" or an "answer" was checked by `[safety]`, with one of `CHECK_RESULTS`."""

    def first_token(self, provider: str, after_s: float) -> None:
        """The first token of a streamed answer came, `after_s` seconds after the call."""

    def settled(self, turn: SettledTurn) -> None:
        """A turn's outcome is committed; called once for each accepted command."""

    def crashed(self, channel_id: str) -> None:
        """A channel's actor crashed; the supervisor restarts it."""

    def suspended(self, channel_id: str) -> None:
        """A channel's actor crashed too often and is suspended for a while."""

    def activated(self, channel_id: str) -> None:
        """A channel was loaded into memory."""

    def passivated(self, cause: PassivationCause, channels: int = 1) -> None:
        """Channels were removed from memory."""

    def committed(self, writes: int, seconds: float, failed: bool) -> None:
        """A group of writes was committed, or failed as a whole. In the database's thread."""

    async def aclose(self) -> None:
        """The engine has ended; no more events follow."""


EVENTS = [name for name in vars(TurnObserver) if not name.startswith("_") and name != "aclose"]


class Observers(TurnObserver):
    """A list of observers, which get each event one after the other.

    An event goes only to those that have a method of their own for it.
    """

    def __init__(self, observers: Iterable[TurnObserver] = ()) -> None:
        self._observers: list[TurnObserver] = []
        self._told: dict[str, list[Callable[..., None]]] = {name: [] for name in EVENTS}
        for observer in observers:
            self.add(observer)

    def add(self, observer: TurnObserver) -> None:
        """Add an observer; it gets all later events."""
        self._observers.append(observer)
        for name, told in self._told.items():
            if getattr(type(observer), name) is not getattr(TurnObserver, name):
                told.append(getattr(observer, name))

    def accepted(self, request: Request, ahead: int) -> None:
        for tell in self._told["accepted"]:
            tell(request, ahead)

    def refused(self, channel_id: str, request_id: str, code: str) -> None:
        for tell in self._told["refused"]:
            tell(channel_id, request_id, code)

    def limited(self, limit: str, scope: str) -> None:
        for tell in self._told["limited"]:
            tell(limit, scope)

    def unstored(self, channel_id: str, request_id: str) -> None:
        for tell in self._told["unstored"]:
            tell(channel_id, request_id)

    def repeated(self, request: Request) -> None:
        for tell in self._told["repeated"]:
            tell(request)

    def settled_at_once(self, request: Request) -> None:
        for tell in self._told["settled_at_once"]:
            tell(request)

    def recovered(self, commands: int) -> None:
        for tell in self._told["recovered"]:
            tell(commands)

    def turn_started(self, request: Request, accepted_ms: int, provider: str) -> None:
        for tell in self._told["turn_started"]:
            tell(request, accepted_ms, provider)

    def model_asked(
        self,
        request: Request,
        provider: str,
        model: str,
        temperature: float,
        max_tokens: int | None,
    ) -> None:
        for tell in self._told["model_asked"]:
            tell(request, provider, model, temperature, max_tokens)

    def checked(self, subject: str, result: str) -> None:
        for tell in self._told["checked"]:
            tell(subject, result)

    def first_token(self, provider: str, after_s: float) -> None:
        for tell in self._told["first_token"]:
            tell(provider, after_s)

    def settled(self, turn: SettledTurn) -> None:
        for tell in self._told["settled"]:
            tell(turn)

    def crashed(self, channel_id: str) -> None:
        for tell in self._told["crashed"]:
            tell(channel_id)

    def suspended(self, channel_id: str) -> None:
        for tell in self._told["suspended"]:
            tell(channel_id)

    def activated(self, channel_id: str) -> None:
        for tell in self._told["activated"]:
            tell(channel_id)

    def passivated(self, cause: PassivationCause, channels: int = 1) -> None:
        for tell in self._told["passivated"]:
            tell(cause, channels)

    def committed(self, writes: int, seconds: float, failed: bool) -> None:
        for tell in self._told["committed"]:
            tell(writes, seconds, failed)

    async def aclose(self) -> None:
        for observer in self._observers:
            await observer.aclose()
