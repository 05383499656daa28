"""`rosey-llm bot irc`: people ask with !chat in channels of IRC, and the service answers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from functools import partial

from irc.strings import lower

from engine.client.address import CannotConnect
from engine.client.client import Client
from engine.client.speaker import Speaker
from engine.errors import EXIT_INTERRUPTED, CannotStart
from engine.interfaces.bots import irc_text
from engine.interfaces.bots.irc_connection import IrcConnection
from engine.interfaces.bots.irc_options import IrcOptions, IrcRefused
from engine.interfaces.bots.room import BotRoom
from engine.texts.texts import Texts

LEAVE_LIMIT_S = 5.0


async def run(
    options: IrcOptions, client: Client, report: Callable[[str], None], texts: Texts
) -> None:
    """Run until SIGTERM or SIGINT, then leave with QUIT. Raise CannotStart.

    report: prints one line for people. texts: the words of what the bot itself says in rooms.
    """
    bot = IrcBot(options, client, report, texts)
    stopping = asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():
            os._exit(EXIT_INTERRUPTED)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    work = asyncio.create_task(bot.run())
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not work.done():
        await bot.finish()
        work.cancel()
        await asyncio.wait({work})
    if not work.cancelled():
        work.result()


class IrcBot:
    """The bot: a room for each channel, one speaker, one connection to IRC and one to NATS."""

    def __init__(
        self,
        options: IrcOptions,
        client: Client,
        report: Callable[[str], None],
        texts: Texts,
    ) -> None:
        self._options = options
        self._texts = texts
        self._client = client
        self._report = report
        self._connection = IrcConnection(options, self._heard, report)
        self._speaker = Speaker(
            self._connection.say,
            limit=irc_text.LINE_BYTES,
            one_line=True,
            lines_per_s=options.lines_per_s,
        )
        self._rooms = {lower(name): self._room(name) for name in options.channels}

    async def run(self) -> None:
        """Answer until cancelled. Raise CannotStart."""
        if self._options.shows_secret:
            self._report("The secret goes through the network unencrypted: add --tls.")
        try:
            async with self._client:
                await self._connection.open()
                self._report(f"Connected to {self._options.address} as {self._connection.nick}.")
                try:
                    await self._answer()
                finally:
                    self._connection.close(self._farewell())
        except IrcRefused as exc:
            raise CannotStart(f"{exc}.") from exc
        except CannotConnect as exc:
            raise CannotStart(str(exc)) from exc

    async def finish(self) -> None:
        """Take no more questions, and put what is being said into the rooms, if that is quick."""
        closing = [asyncio.create_task(room.close()) for room in self._rooms.values()]
        await asyncio.wait(closing, timeout=LEAVE_LIMIT_S)
        for task in closing:
            task.cancel()

    async def _answer(self) -> None:
        async with self._speaker, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._connection.keep())
            for room in self._rooms.values():
                tasks.create_task(room.run())

    def _room(self, name: str) -> BotRoom:
        return BotRoom(
            f"{self._options.prefix}/{lower(name)}",
            self._client,
            partial(self._say, name),
            lambda text: irc_text.lines(text, self._connection.nick, name),
            self._texts,
        )

    async def _say(self, name: str, line: str) -> None:
        await self._speaker.say(name, line).said.wait()

    def _heard(
        self, channel: str, nick: str, line: str, tags: Mapping[str, str], roles: tuple[str, ...]
    ) -> None:
        question = irc_text.question(nick, line, tags, roles, self._options.prefix)
        if question is not None:
            self._rooms[lower(channel)].hear(question)

    def _farewell(self) -> str:
        unanswered = sum(room.unanswered for room in self._rooms.values())
        if not unanswered:
            return "Leaving"
        return f"Leaving; ask again what has no answer yet ({unanswered})"
