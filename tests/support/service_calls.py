"""Calls of an `LLMService` that a test holds back, and what its database then has."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from engine import Answer, LLMService
from providers.base import Completion, LLMProvider, Message, Options
from tests.support.patience import WAIT_S


class Gate:
    """A provider script whose calls wait until the test lets them through."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.running = 0
        self.most_running = 0
        self._more = asyncio.Condition()
        self._let = 0

    async def __call__(self, messages: Sequence[Message], _: Options) -> AsyncIterator[str]:
        async with self._more:
            self.calls.append(messages[-1].content)
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self._more.notify_all()
        try:
            async with self._more:
                await self._more.wait_for(lambda: self._let > 0)
                self._let -= 1
            yield f"re: {messages[-1].content}"
        finally:
            self.running -= 1

    async def let(self, count: int = 1) -> None:
        async with self._more:
            self._let += count
            self._more.notify_all()

    async def until(self, calls: int) -> None:
        async with asyncio.timeout(WAIT_S), self._more:
            await self._more.wait_for(lambda: len(self.calls) >= calls)


class Stuck(LLMProvider):
    """A provider that ignores cancellation until it is released."""

    kind = "stuck"

    def __init__(self) -> None:
        super().__init__()
        self.called, self.cut, self.let_go = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.asked = 0

    async def chat(self, messages: Sequence[Message], options: Options) -> Completion:
        self.asked += 1
        self.called.set()
        while self.asked == 1 and not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.cut.set()
        return Completion(f"late: {messages[-1].content}", "stuck")

    async def is_available(self) -> bool:
        return True


def rows_of(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def asking(service: LLMService, text: str, channel: str = "main") -> asyncio.Task[Answer]:
    return asyncio.create_task(service.chat(text, channel))
