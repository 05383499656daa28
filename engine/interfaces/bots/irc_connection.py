"""`IrcConnection`: stays connected to an IRC server and in its channels."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from functools import partial

from irc.client import Event
from irc.strings import lower

from engine.interfaces.bots.irc_channel import JOIN_ERRORS, IrcChannel
from engine.interfaces.bots.irc_members import IrcMembers
from engine.interfaces.bots.irc_options import IrcOptions, IrcRefused
from engine.interfaces.bots.irc_registration import register
from engine.interfaces.bots.irc_session import IrcSession

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 300.0
STABLE_S = 60.0
WATCH_S, SILENCES = 30.0, 3
Heard = Callable[[str, str, str, Mapping[str, str], tuple[str, ...]], None]


class IrcConnection:
    """A connection that is made again after each loss.

    - `heard`: is given each line of others: channel, nickname, text, tags, roles in the channel
    - `report`: is told what people should know, in whole sentences
    """

    def __init__(self, options: IrcOptions, heard: Heard, report: Callable[[str], None]) -> None:
        self._options = options
        self._heard, self._report = heard, report
        self._session = IrcSession(options)
        self._members = IrcMembers(self._session.dialect)
        self._why_lost = ""
        self._channels = {
            lower(name): IrcChannel(name, partial(self._join, name), report)
            for name in options.channels
        }

    @property
    def nick(self) -> str:
        return self._session.nick

    async def open(self) -> None:
        """Connect and ask to join. Raise IrcRefused."""
        session = IrcSession(self._options)
        try:
            await session.connect()
            await register(session, self._report)
        except BaseException:
            session.close()
            raise
        self._session = session
        self._members = IrcMembers(session.dialect)
        self._why_lost = ""
        for channel in self._channels.values():
            channel.enter()

    async def keep(self) -> None:
        """Take what the server says; connect again after each loss, until cancelled."""
        pause_s, clock = FIRST_PAUSE_S, asyncio.get_running_loop().time
        while True:
            began_s = clock()
            watch = asyncio.create_task(self._watch(self._session))
            try:
                await self._listen(self._session)
            finally:
                watch.cancel()
            if clock() - began_s > STABLE_S:
                pause_s = FIRST_PAUSE_S
            why = f" ({self._why_lost})" if self._why_lost else ""
            self._report(
                f"The connection to {self._options.address} is lost{why}. Connecting again."
            )
            while True:
                await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                try:
                    await self.open()
                    break
                except IrcRefused as exc:
                    self._report(f"Cannot connect again: {exc}. Trying again in {pause_s:g} s.")

    async def say(self, name: str, line: str) -> None:
        """Put a line into a channel; wait as long as the bot is not there, or may not speak."""
        channel = self._channels[lower(name)]
        while True:
            await channel.joined.wait()
            channel.changed.clear()
            try:
                if await self._session.deliver(name, line):
                    channel.has_voice()
                    return
            except ConnectionError:
                await asyncio.sleep(0)  # until `joined` is cleared
            else:
                if channel.joined.is_set():
                    await channel.wait_for_voice(self.nick)

    def close(self, message: str) -> None:
        """Leave with QUIT."""
        for channel in self._channels.values():
            channel.lost()
        self._session.close(message)

    async def _listen(self, session: IrcSession) -> None:
        """Take events until the connection is lost."""
        while (event := await session.events.get()).type != "disconnect":
            self._take(event)
        for channel in self._channels.values():
            channel.lost()
        session.abandon()

    async def _watch(self, session: IrcSession) -> None:
        """Find a connection that died silently, and take the nickname back that was in use."""
        silences = 0
        while True:
            session.send("PING", "alive")
            if session.nick != self._options.nick:
                session.send("NICK", self._options.nick)
            await asyncio.sleep(WATCH_S)
            silences = 0 if session.is_heard else silences + 1
            session.is_heard = False
            if silences == SILENCES:
                self._why_lost = "the server is silent"
                session.close()

    def _take(self, event: Event) -> None:
        words = [str(each) for each in event.arguments]
        target, source = str(event.target), str(getattr(event.source, "nick", ""))
        self._note_members(event.type, source, target, words)
        match event.type:
            case "pubmsg" if not self._is_own(source):
                if channel := self._channel(target):
                    roles = self._members.roles(target, source)
                    self._heard(channel.name, source, words[0], _tags(event), roles)
            case "pong":
                self._session.confirm(words[-1] if words else target)
            case "join" if self._is_own(source):
                if channel := self._channel(target):
                    channel.entered(self.nick)
            case "kick" if words and self._is_own(words[0]):
                why = f": {words[1]}" if len(words) > 1 else ""
                self._shut_out(target, f"{source} has kicked the bot out of {target}{why}")
            case "part" if self._is_own(source):
                self._shut_out(target, f"The bot was taken out of {target}")
            case "invite" if self._is_own(target) and words:
                if channel := self._channel(words[0]):
                    channel.enter()
            case "mode":
                if channel := self._channel(target):
                    channel.changed.set()
            case "cannotsendtochan" if words:
                if channel := self._channel(words[0]):
                    self._session.refuse(channel.name)
            case "notonchannel" if words:
                self._shut_out(words[0], f"The bot is not in {words[0]} any more")
            case kind if kind in JOIN_ERRORS and words:
                self._refused(words[0], kind)
            case "pubnotice" if "msg-id" in (tags := _tags(event)):  # of Twitch, such as its limits
                self._report(f"{target}: {words[0]} ({tags['msg-id']})")
            case "error":
                self._why_lost = target
            case "reconnect":  # Twitch says so before a server of its ends
                self._why_lost = "the server asks for it"
                self._session.close()

    def _note_members(self, kind: str, source: str, target: str, words: list[str]) -> None:
        """Take what an event says of people in channels and of their rights there."""
        members = self._members
        match kind, words:
            case "featurelist", _:
                members.dialect = self._session.dialect
            case "namreply", [_, channel, names]:
                members.names(channel, names)
            case "join", _:
                if self._is_own(source):
                    members.forget(target)  # the names of all who are there follow
                members.joined(target, source)
            case "part", _:
                members.left(target, source)
            case "kick", [nick, *_]:
                members.left(target, nick)
            case "quit", _:
                members.quit(source)
            case "nick", _:
                members.renamed(source, target)
            case "mode", _:
                members.modes(target, words)

    def _refused(self, name: str, kind: str) -> None:
        channel = self._channel(name)
        if channel is not None and not channel.joined.is_set():
            channel.shut_out(f"Cannot join {channel.name}: {JOIN_ERRORS[kind]}")

    def _shut_out(self, name: str, why: str) -> None:
        if channel := self._channel(name):
            channel.shut_out(why)
            self._session.refuse(channel.name)

    def _join(self, name: str) -> None:
        self._session.send("JOIN", name, self._options.channels[name])

    def _channel(self, name: str) -> IrcChannel | None:
        return self._channels.get(lower(name))

    def _is_own(self, nick: str) -> bool:
        return bool(lower(nick) == lower(self.nick))


def _tags(event: Event) -> dict[str, str]:
    return {each["key"]: each["value"] or "" for each in event.tags or ()}
