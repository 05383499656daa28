"""A fake IRC server that asks for logins, such as Twitch's gateway; for what ngircd cannot do.

It writes what Twitch documents, and IRCv3: `@tags :nick!user@host PRIVMSG #channel :text`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.support.patience import WAIT_S

NAME = ":tmi.twitch.tv"


class IrcGateway:
    """The fake server.

    received: the lines of the bot, of all connections. capabilities: what it offers.
    refusals: what it answers to a command, such as {"PASS": "NOTICE * :Login failed"}, before it
    closes the connection. is_mute: it answers nothing, as behind a network that is gone.
    """

    def __init__(self, capabilities: str = "twitch.tv/commands twitch.tv/tags") -> None:
        self.capabilities = capabilities
        self.refusals: dict[str, str] = {}
        self.received: list[str] = []
        self.is_mute = False
        self.port = 0
        self._nick = ""
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def send(self, line: str) -> None:
        for writer in self._writers:
            writer.write(f"{line}\r\n".encode())
            await writer.drain()

    async def until(self, reached: Callable[[list[str]], bool]) -> None:
        """Wait until what the bot has sent makes `reached` true."""
        try:
            async with asyncio.timeout(WAIT_S):
                while not reached(self.received):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError("\n".join(self.received)) from None

    def said(self) -> list[str]:
        return [line for line in self.received if line.startswith("PRIVMSG ")]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while data := await reader.readline():
                line = data.decode().rstrip("\r\n")
                self.received.append(line)
                self._changed.set()
                for answer in self._answers(line):
                    writer.write(f"{answer}\r\n".encode())
                await writer.drain()
                if line.partition(" ")[0] in self.refusals:
                    break
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answers(self, line: str) -> list[str]:
        command, _, rest = line.partition(" ")
        if self.is_mute:
            return []
        if command in self.refusals:
            return [f"{NAME} {self.refusals[command]}"]
        match command:
            case "CAP" if rest.startswith("LS"):
                return [f"{NAME} CAP * LS :{self.capabilities}"]
            case "CAP" if rest.startswith("REQ"):
                return [f"{NAME} CAP * ACK {rest.removeprefix('REQ ')}"]
            case "CAP" if rest == "END":
                return [f"{NAME} 001 {self._nick} :Welcome, GLHF!"]
            case "AUTHENTICATE":
                return ["AUTHENTICATE +"] if rest == "PLAIN" else [f"{NAME} 903 {self._nick} :in"]
            case "NICK":
                self._nick = rest
            case "JOIN":
                return [f":{self._nick}!{self._nick}@{self._nick}.tmi.twitch.tv JOIN {rest}"]
            case "PING":
                return [f"{NAME} PONG tmi.twitch.tv :{rest}"]
        return []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
