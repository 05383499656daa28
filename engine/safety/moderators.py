"""The providers that judge messages and answers for one engine, over its reloads."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from engine.config.safety_settings import SafetySettings
from providers.base import LLMProvider
from providers.chain.moderator import Moderator


class Moderators:
    """The moderators of one engine. Those that a reload does not change stay as they are.

    new_provider: returns the provider of a name, as it is configured now.
    """

    def __init__(self) -> None:
        self._open: list[Moderator] = []
        self._closing: list[Moderator] = []

    def apply(
        self, settings: Iterable[SafetySettings], new_provider: Callable[[str], LLMProvider]
    ) -> None:
        """Have a moderator for each of these settings, and retire all others."""
        wanted: list[Moderator] = []
        for safety in settings:
            if safety.moderation and _of(wanted, safety) is None:
                provider = new_provider(safety.moderation)
                known = (each for each in self._open if _is_as(each, safety, provider))
                model, timeout_s = safety.moderation_model, safety.moderation_timeout_s
                wanted.append(next(known, None) or Moderator(provider, model, timeout_s))
        unused = [each for each in self._open if each not in wanted]
        self._open = wanted
        for each in unused:
            each.retire()
        self._closing = [each for each in (*self._closing, *unused) if not each.is_closed]

    def of(self, safety: SafetySettings) -> Moderator | None:
        """Return the moderator of these settings; None if there is none."""
        return _of(self._open, safety)

    async def aclose(self) -> None:
        for each in [*self._open, *self._closing]:
            await each.aclose()


def _of(moderators: Iterable[Moderator], safety: SafetySettings) -> Moderator | None:
    return next((each for each in moderators if _is_of(each, safety)), None)


def _is_of(moderator: Moderator, safety: SafetySettings) -> bool:
    return (moderator.provider.name, moderator.model, moderator.timeout_s) == (
        safety.moderation,
        safety.moderation_model,
        safety.moderation_timeout_s,
    )


def _is_as(moderator: Moderator, safety: SafetySettings, provider: LLMProvider) -> bool:
    known = moderator.provider
    same = type(known) is type(provider) and known.config == provider.config
    return same and _is_of(moderator, safety)
