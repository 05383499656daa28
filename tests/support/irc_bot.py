"""The IRC bot in the process of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from engine.client.client import Client
from engine.interfaces.bots.irc_bot import IrcBot
from engine.interfaces.bots.irc_options import IrcOptions
from engine.texts.texts import Texts
from tests.support.patience import WAIT_S


class RunningBot:
    """A bot that runs. reports: what it tells the people who run it."""

    def __init__(self, url: str, options: IrcOptions, texts: Texts) -> None:
        self.reports: list[str] = []
        self._changed = asyncio.Event()
        self.bot = IrcBot(options, Client(url), self._report, texts)

    def _report(self, line: str) -> None:
        self.reports.append(line)
        self._changed.set()

    async def reported(self, part: str) -> str:
        """Return the first report with this part, once it is there."""
        try:
            async with asyncio.timeout(WAIT_S):
                while not (found := [each for each in self.reports if part in each]):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(self.reports) from None
        return found[0]


@asynccontextmanager
async def irc_bot(url: str, port: int, *channels: str, **more: Any) -> AsyncIterator[RunningBot]:
    """Run a bot during the block; at its beginning it is in all channels."""
    names = {**dict.fromkeys(channels, ""), **more.pop("keys", {})}
    options: dict[str, Any] = {"host": "127.0.0.1", "port": port, "nick": "rosey", "rate": 100.0}
    texts = more.pop("texts", Texts())
    running = RunningBot(url, IrcOptions(channels=names, **(options | more)), texts)
    work = asyncio.create_task(running.bot.run())
    try:
        for channel in channels:
            await _or_ended(work, running.reported, f"is in {channel}.")
        yield running
    finally:
        work.cancel()
        await asyncio.wait({work}, timeout=WAIT_S)


async def _or_ended(work: asyncio.Task[None], waiting: Callable[[str], Any], part: str) -> None:
    task = asyncio.create_task(waiting(part))
    await asyncio.wait({task, work}, return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
    if work.done():
        work.result()
