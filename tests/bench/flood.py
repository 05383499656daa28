"""A channel that is kept busy: a given number of commands always wait in it."""

from __future__ import annotations

from tests.bench.asker import Answered, Asker, Question


class Flood:
    """A sender that keeps a number of commands waiting in one channel."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._question = Question("", {})
        self._wanted = self._waiting = 0

    def keep(self, question: Question, wanted: int) -> None:
        self._question, self._wanted = question, wanted
        self._fill()

    def _fill(self) -> None:
        while self._waiting < self._wanted:
            self._waiting += 1
            self._asker.ask(self._question, "flooded", self._on_answered)
        self._asker.wire.send()

    def _on_answered(self, answered: Answered) -> None:
        if answered.busy:
            self._asker.trouble = "the flooded channel was busy: raise its mailbox_limit"
        self._waiting -= 1
        self._fill()
