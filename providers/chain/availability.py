"""Asks a provider in the background whether it is available, while its circuit holds calls back."""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import suppress

from providers.base import LLMProvider
from providers.chain.circuit_breaker import CircuitBreaker
from providers.chain.guard import CLOSE_LIMIT_S, Guard
from providers.errors import ProviderError

ASK_LIMIT_S = 5.0


class AvailabilityWatch:
    """A task that runs while calls wait for the circuit, and lets one through after each yes."""

    def __init__(self, provider: LLMProvider, guard: Guard, breaker: CircuitBreaker) -> None:
        self._provider = provider
        self._guard = guard
        self._breaker = breaker
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def begin(self) -> None:
        """Start the task, unless it runs already."""
        if not self._closed and (self._task is None or self._task.done()):
            # With a context of its own: it does not belong to the turn whose call has failed.
            context = contextvars.Context()
            name = f"availability of {self._provider.name}"
            self._task = asyncio.create_task(self._run(), name=name, context=context)

    async def aclose(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CLOSE_LIMIT_S)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._breaker.ask_every_s)
            if self._breaker.wait_s() is None:  # the next call shows it
                return
            with suppress(ProviderError):
                problem = f"did not answer within {ASK_LIMIT_S:g} s"
                if await self._guard.step(self._ask, ASK_LIMIT_S, problem):
                    self._breaker.let_one_through()

    async def _ask(self) -> bool:
        try:
            return await self._provider.is_available() is True
        except Exception:  # noqa: BLE001 - another author's may raise anything, each time
            return False
