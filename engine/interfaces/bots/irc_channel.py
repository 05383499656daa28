"""`IrcChannel`: whether the bot is in a channel, and why not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

RETRY_S, LONGEST_RETRY_S = 60.0, 600.0
# What a server answers to JOIN, and what to do about it.
JOIN_ERRORS = {
    "badchannelkey": "it needs a key: put it into the file of --keys",
    "bannedfromchan": "the bot is banned there: ask its operators",
    "inviteonlychan": "it is for invited people: /invite the bot",
    "channelisfull": "it is full",
    "toomanychannels": "the server lets the bot into no more channels",
    "nosuchchannel": "there is no such channel, or its name is not allowed here",
    "badchanmask": "its name is not allowed here",
    "nochanmodes": "only registered nicknames may come in: use --sasl",
    "unavailresource": "it cannot be joined just now",
}


class IrcChannel:
    """A channel that the bot wants to be in.

    - `joined`: set while the bot is there
    - `changed`: set when the modes of the channel have changed: the bot may have voice now
    - `join`: asks the server to let the bot in
    """

    def __init__(self, name: str, join: Callable[[], None], report: Callable[[str], None]) -> None:
        self.name = name
        self.joined = asyncio.Event()
        self._join, self._report = join, report
        self._again: asyncio.TimerHandle | None = None
        self._pause_s = RETRY_S
        self._is_muted = False
        self.changed = asyncio.Event()

    def enter(self) -> None:
        """Try to join now."""
        self._forget()
        self._join()

    def entered(self, nick: str) -> None:
        self._forget()
        self._pause_s = RETRY_S
        self.joined.set()
        self._report(f"{nick} is in {self.name}. Say there: !chat help")

    def shut_out(self, why: str) -> None:
        """Note that the bot is not there; it tries again after a while."""
        self.joined.clear()
        self._forget()
        self._report(f"{why}. Trying again in {self._pause_s:g} s.")
        self._again = asyncio.get_running_loop().call_later(self._pause_s, self.enter)
        self._pause_s = min(2 * self._pause_s, LONGEST_RETRY_S)

    def lost(self) -> None:
        """Note that there is no connection."""
        self.joined.clear()
        self._forget()

    async def wait_for_voice(self, nick: str) -> None:
        """Wait before the next line after one that was refused: for a change of modes, or a while.

        The caller has cleared `changed` before it sent the line.
        """
        if not self._is_muted:
            self._is_muted = True
            self._report(
                f"{self.name} takes no line of {nick}, and its answers wait. Give it voice:"
                f" /mode {self.name} +v {nick}."
            )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S):
                await self.changed.wait()

    def has_voice(self) -> None:
        self._is_muted = False

    def _forget(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
