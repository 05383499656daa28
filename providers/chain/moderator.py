"""A provider that judges what is said, with a time limit."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from providers.base import LLMProvider, Moderation
from providers.chain.guard import Guard
from providers.errors import ProviderError

log = logging.getLogger("rosey_llm.safety")
TRIES = 2


class Moderator:
    """A provider's moderation with a time limit, for the turns of one engine.

    A turn holds it from its start to its end; once it is retired and no turn holds it, it is
    closed.
    """

    def __init__(self, provider: LLMProvider, model: str, timeout_s: float) -> None:
        self.provider = provider
        self.model = model
        self.timeout_s = timeout_s
        self._guard = Guard(provider)
        self._late = f"judged nothing within {timeout_s:g} s"
        self._holders = 0
        self._retired = False
        self._closing: asyncio.Task[None] | None = None
        self._failing = False

    async def judge(self, text: str) -> Moderation:
        """Return the judgement of a text. Raises ProviderError."""
        try:
            found = await self._guard.step(partial(self._ask, text), self.timeout_s, self._late)
        except ProviderError as exc:
            self._note_failure(exc)
            raise
        if self._failing:
            self._failing = False
            log.warning(
                "%(provider)s judges again.",
                {"event": "safety.moderation_recovered", "provider": self.provider.name},
            )
        return found

    def hold(self) -> None:
        self._holders += 1

    def release(self) -> None:
        self._holders -= 1
        self._close_if_unused()

    @property
    def is_closed(self) -> bool:
        return self._closing is not None and self._closing.done()

    def retire(self) -> None:
        """Close it once no turn holds it."""
        self._retired = True
        self._close_if_unused()

    async def aclose(self) -> None:
        if self._closing is not None:
            await self._closing
        await self.provider.aclose()

    async def _ask(self, text: str) -> Moderation:
        for attempt in range(1, TRIES + 1):
            try:
                return await self.provider.moderate(text, self.model)
            except ProviderError as exc:
                # Judging twice changes nothing and costs nothing.
                if attempt == TRIES or not exc.retryable or exc.retry_after_s:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _note_failure(self, exc: ProviderError) -> None:
        if self._failing:
            return
        self._failing = True
        # The error's own text may quote what it was given.
        log.warning(
            "%(provider)s cannot judge what is said: %(code)s. `rosey-llm check` tells why.",
            {
                "event": "safety.moderation_failed",
                "provider": self.provider.name,
                "code": exc.code,
                "status": exc.status,
            },
        )

    def _close_if_unused(self) -> None:
        if self._retired and not self._holders and self._closing is None:
            self._closing = asyncio.create_task(self.provider.aclose())
