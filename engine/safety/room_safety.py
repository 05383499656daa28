"""The safety of a room: what is checked of its messages and answers, and who checks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from engine.config.safety_settings import SafetySettings
from engine.config.settings import Settings
from engine.errors import TextRefused
from engine.safety.deny_list import DenyList
from engine.safety.mentions import Mentions
from engine.safety.moderators import Moderators
from engine.texts import refusals
from engine.texts.sentence import Sentence
from providers.chain.moderator import Moderator
from providers.errors import ProviderError

Subject = Literal["message", "answer"]
Asked = Callable[[str], None]
UNCHECKED = "unchecked"
_REFUSED: Mapping[Subject, Sentence] = {
    "message": refusals.MESSAGE_REFUSED,
    "answer": refusals.ANSWER_REFUSED,
}
_UNCHECKED: Mapping[Subject, Sentence] = {
    "message": refusals.MESSAGE_UNCHECKED,
    "answer": refusals.ANSWER_UNCHECKED,
}


@dataclass(frozen=True, slots=True)
class RoomSafety:
    """The checks of the channels of one rule; by default there are none.

    A check returns whether all was found good; False if it could not be finished, and the settings
    let such texts pass. It raises TextRefused.

    asked: called with the name of the provider that is given the text to judge.
    """

    deny: DenyList | None = None
    mentions: Mentions | None = None
    moderator: Moderator | None = None
    refuses_unchecked: bool = True

    @property
    def checks(self) -> bool:
        """Whether a message or an answer can be refused."""
        return self.deny is not None or self.moderator is not None

    async def check_message(self, text: str, asked: Asked) -> bool:
        complete = True
        if self.deny is not None:
            found = await self.deny.search(text)
            if found.match is not None:
                raise _refusal("message", "denied", [f"deny[{found.match}]"])
            if found.late:
                complete = self._unchecked("message")
        return await self._judge("message", text, asked) and complete

    async def check_answer(self, text: str, asked: Asked) -> bool:
        return await self._judge("answer", text, asked)

    def hold(self) -> None:
        """Keep the moderator open until `release`."""
        if self.moderator is not None:
            self.moderator.hold()

    def release(self) -> None:
        if self.moderator is not None:
            self.moderator.release()

    async def _judge(self, subject: Subject, text: str, asked: Asked) -> bool:
        if self.moderator is None:
            return True
        asked(self.moderator.provider.name)
        try:
            found = await self.moderator.judge(text)
        except ProviderError as exc:
            return self._unchecked(subject, exc)
        if found.flagged:
            raise _refusal(subject, "flagged", found.categories)
        return True

    def _unchecked(self, subject: Subject, cause: ProviderError | None = None) -> bool:
        if not self.refuses_unchecked:
            return False
        said = _UNCHECKED[subject]()
        raise TextRefused(said, cause=UNCHECKED, categories=[UNCHECKED]) from cause


NO_SAFETY = RoomSafety()


class RoomSafeties:
    """The safety of every rule's rooms, over the reloads of one engine."""

    def __init__(self) -> None:
        self._moderators = Moderators()
        self._lists: dict[tuple[str, ...], DenyList] = {}

    def apply(self, settings: Settings) -> None:
        """Take up the moderators and patterns of these settings, and retire all others."""
        named = [settings.safety, *(settings.safety_of(each) for each in settings.channels.rules)]
        self._moderators.apply(named, settings.new_provider)
        patterns = {each.deny for each in named if each.deny}
        self._lists = {each: self._lists.get(each) or DenyList(each) for each in patterns}

    def of(self, safety: SafetySettings) -> RoomSafety:
        """Return the safety of rooms with these settings, which `apply` was given."""
        return RoomSafety(
            self._lists.get(safety.deny),
            Mentions(safety.neutralise) if safety.neutralise else None,
            self._moderators.of(safety),
            safety.on_failure == "refuse",
        )

    async def aclose(self) -> None:
        await self._moderators.aclose()


def _refusal(subject: Subject, cause: str, categories: Iterable[str]) -> TextRefused:
    said = _REFUSED[subject]()
    return TextRefused(said, cause=cause, categories=list(categories))
