"""The checks of one turn: whether its message may be answered, and its answer be shown."""

from __future__ import annotations

from engine.answering.provenance import Provenance
from engine.commands.observer import TurnObserver
from engine.errors import TextRefused
from engine.safety.room_safety import RoomSafety, Subject
from providers.chain.chain import Answered


class Judgement:
    """What `[safety]` says of one turn; it tells the observer, and notes it for the history.

    holds_answer: whether no piece of the answer may be shown, because the whole was not judged yet.
    answered: the answer that is being judged, or was; None before that.
    """

    def __init__(self, safety: RoomSafety, observer: TurnObserver, provenance: Provenance) -> None:
        self._safety = safety
        self._observer = observer
        self._provenance = provenance
        self.holds_answer = safety.moderator is not None
        self.answered: Answered | None = None

    async def of_message(self, text: str) -> None:
        """Raise TextRefused if the message may not be answered."""
        try:
            complete = await self._safety.check_message(text, self._note_judge)
        except TextRefused as exc:
            self._note_refusal("message", exc)
            raise
        self._note("message", complete=complete)

    async def of_answer(self, answered: Answered, text: str) -> None:
        """Raise TextRefused if this text of the answer may not be shown."""
        self.answered = answered
        try:
            complete = await self._safety.check_answer(text, self._note_judge)
        except TextRefused as exc:
            self._note_refusal("answer", exc)
            raise
        self._note("answer", complete=complete)
        self.holds_answer = False

    def _note_judge(self, provider: str) -> None:
        self._provenance.note(judge=provider)

    def _note(self, subject: Subject, *, complete: bool) -> None:
        self._observer.checked(subject, "passed" if complete else "unchecked")
        if not complete:
            self._provenance.note(**{f"{subject}_unchecked": True})

    def _note_refusal(self, subject: Subject, exc: TextRefused) -> None:
        self._observer.checked(subject, exc.cause)
        self._provenance.note(refused=subject, categories=list(exc.categories))
