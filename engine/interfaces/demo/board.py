"""What the demo shows: what was said in each room, the state of the engine, and what happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from engine.interfaces.demo import script
from engine.interfaces.demo.script import ScriptedExchange

BOT = "Rosey"


@dataclass(slots=True)
class ShownAnswer:
    """A growing answer. cut: the engine was killed in the middle of it."""

    text: str = ""
    state: Literal["waiting", "growing", "cut", "done"] = "waiting"

    @property
    def words(self) -> int:
        return len(self.text.split())


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the engine.

    at_s: seconds since the demo began.
    """

    at_s: float
    what: str
    note: str
    is_crash: bool


@dataclass(slots=True)
class Board:
    """All that is shown. `say` prints one plain line; it does nothing if a screen is drawn.

    engine: the process that runs now; None if none does.
    """

    say: Callable[[str], None]
    began_s: float = field(default_factory=time.monotonic)
    engine: int | None = None
    events: list[Event] = field(default_factory=list)
    rooms: dict[str, list[ScriptedExchange]] = field(
        default_factory=lambda: {room: [] for room in script.ROOMS}
    )
    answers: dict[str, ShownAnswer] = field(default_factory=dict)

    def happened(self, what: str, note: str = "", *, is_crash: bool = False) -> None:
        self.events.append(Event(self._now_s, what, note, is_crash))
        self._line("engine", f"{what}  {note}".rstrip())

    def asked(self, exchange: ScriptedExchange) -> None:
        self.rooms[exchange.room].append(exchange)
        self.answers[exchange.request_id] = ShownAnswer()
        self._line(exchange.room, f"{exchange.user}: {exchange.question}")

    def grew(self, exchange: ScriptedExchange, text: str) -> None:
        """Show what there is of the answer."""
        answer = self.answers[exchange.request_id]
        answer.text, answer.state = text, "growing"

    def answered(self, exchange: ScriptedExchange, text: str) -> None:
        answer = self.answers[exchange.request_id]
        answer.text, answer.state = text, "done"
        self._line(exchange.room, f"{BOT}: {text}")

    def died(self) -> None:
        """Mark the answers that will not grow any further."""
        self.engine = None
        for exchange in self.unanswered():
            answer = self.answers[exchange.request_id]
            if answer.state == "growing":
                answer.state = "cut"
                self._line(exchange.room, f"{BOT}: {answer.text.rstrip()} -- cut off")

    def unanswered(self) -> list[ScriptedExchange]:
        return [
            exchange
            for exchanges in self.rooms.values()
            for exchange in exchanges
            if self.answers[exchange.request_id].state != "done"
        ]

    def count(self, state: str) -> int:
        return sum(answer.state == state for answer in self.answers.values())

    @property
    def _now_s(self) -> float:
        return time.monotonic() - self.began_s

    def _line(self, where: str, text: str) -> None:
        self.say(f"{self._now_s:5.1f} s  {where:<7} {text}")
