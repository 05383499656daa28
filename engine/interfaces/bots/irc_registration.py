"""Registration with an IRC server: capabilities, login and nickname, until the server's welcome."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

from irc.client import Event

from engine.interfaces.bots.irc_options import IrcRefused
from engine.interfaces.bots.irc_session import IrcSession

REGISTER_TIMEOUT_S = 60.0
# Message tags bring the ids of messages and who is a bot, account-tag who is logged in,
# multi-prefix all rights of a person, Twitch's own the rest.
CAPABILITIES = {
    "message-tags",
    "account-tag",
    "multi-prefix",
    "twitch.tv/tags",
    "twitch.tv/commands",
}
NICK_TRIES = 5
SASL_CHUNK = 400
SASL_REFUSALS = ("saslfail", "sasltoolong", "saslaborted", "nicklocked", "saslmechs")


async def register(session: IrcSession, report: Callable[[str], None]) -> None:
    """Wait until the server has let the bot in. Raise IrcRefused."""
    try:
        async with asyncio.timeout(REGISTER_TIMEOUT_S):
            await _Registration(session, report).run()
    except TimeoutError as exc:
        raise IrcRefused(
            f"{session.options.address} accepts connections, but does not let the bot in within"
            f" {REGISTER_TIMEOUT_S:g} s"
        ) from exc


class _Registration:
    """What one server has said so far.

    - `_said`: its newest notice or error, which says why it ends the connection
    """

    def __init__(self, session: IrcSession, report: Callable[[str], None]) -> None:
        self._session = session
        self._options = session.options
        self._report = report
        self._offered: set[str] = set()
        self._is_logged_in = False
        self._said = ""
        self._tries = 0

    async def run(self) -> None:
        while True:
            event = await self._session.events.get()
            if event.type == "welcome":
                break
            self._take(event)
        if self._options.account and not self._is_logged_in:
            raise IrcRefused(f"{self._options.address} has no SASL. Leave out --sasl")

    def _take(self, event: Event) -> None:
        words = [str(each) for each in event.arguments]
        said = words[-1] if words else "it does not say why"
        match event.type:
            case "cap":
                self._negotiate(words)
            case "authenticate":
                self._authenticate()
            case "saslsuccess":
                self._is_logged_in = True
                self._session.send("CAP", "END")
            case kind if kind in SASL_REFUSALS:
                raise IrcRefused(
                    f"{self._options.address} refuses the login of {self._options.account}:"
                    f" {' '.join(words)}. Correct the account of --sasl or its secret"
                )
            case "nicknameinuse" | "nickcollision" | "unavailresource":
                self._take_another_nick(words)
            case "erroneusnickname" | "nonicknamegiven":
                raise IrcRefused(
                    f"{self._options.address} does not take the nickname {self._options.nick}:"
                    f" {said}. Choose another --nick"
                )
            case "passwdmismatch":
                raise IrcRefused(
                    f"{self._options.address} wants another password: {said}. Give it with --pass"
                )
            case "yourebannedcreep":
                raise IrcRefused(
                    f"{self._options.address} has banned this bot: {said}. Ask its operators"
                )
            case "privnotice" if words:
                self._said = words[-1]
            case "error":
                self._said = str(event.target)
            case "disconnect":
                why = f": {self._said.rstrip('.')}" if self._said else ""
                raise IrcRefused(f"{self._options.address} has closed the connection{why}")

    def _negotiate(self, words: list[str]) -> None:
        """Take an answer to CAP: ["LS", "a b"], with "*" before the capabilities if more follow."""
        match words:
            case ["LS", "*", names]:
                self._offered.update(_names(names))
            case ["LS", names]:
                self._offered.update(_names(names))
                self._request()
            case ["ACK", names] if "sasl" in _names(names):
                self._session.send("AUTHENTICATE", "PLAIN")
            case ["ACK" | "NAK", *_]:
                self._session.send("CAP", "END")

    def _request(self) -> None:
        wanted = self._offered & CAPABILITIES
        if self._options.account and "sasl" in self._offered:
            wanted |= {"sasl"}
        if wanted:
            self._session.send("CAP", "REQ", f":{' '.join(sorted(wanted))}")
        else:
            self._session.send("CAP", "END")

    def _authenticate(self) -> None:
        account, secret = self._options.account, self._options.secret
        text = base64.b64encode(f"{account}\0{account}\0{secret}".encode()).decode()
        for start in range(0, len(text) + 1, SASL_CHUNK):  # an end that fills a chunk needs "+"
            self._session.send("AUTHENTICATE", text[start : start + SASL_CHUNK] or "+")

    def _take_another_nick(self, words: list[str]) -> None:
        self._tries += 1
        nick = self._options.nick + "_" * self._tries
        if self._tries > NICK_TRIES:
            raise IrcRefused(f"all nicknames from {self._options.nick} to {nick[:-1]} are in use")
        self._report(
            f"The nickname {self._options.nick}{'_' * (self._tries - 1)} is in use; trying {nick}."
        )
        self._session.send("NICK", nick)


def _names(text: str) -> set[str]:
    """Return capabilities without their values: "sasl=PLAIN" is "sasl"."""
    return {each.partition("=")[0] for each in text.split()}
