"""A real IRC server, Debian's ngircd, and people who talk there."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.nats_servers import lasting_port
from tests.support.patience import WAIT_S

OURS = Path(sys.executable).parent  # `make ngircd` puts it there, if it is not installed
PATHS = os.pathsep.join([str(OURS), os.environ.get("PATH", ""), "/usr/sbin"])
LIBRARIES = OURS.parent / "lib" / "ngircd"
CONFIGURATION = """
[Global]
Name = irc.example.org
Info = a test
Listen = 127.0.0.1
Ports = {port}
MotdPhrase = Hello
{more}
[Limits]
MaxConnectionsIP = 0
MaxPenaltyTime = 0
MaxNickLength = 20
[Options]
DNS = no
Ident = no
PAM = no
"""


class IrcServer:
    """An ngircd, which may be killed and started again on its port."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self._file = folder / "ngircd.conf"
        self._log = folder / "ngircd.log"
        self.port = lasting_port()
        self._process: asyncio.subprocess.Process | None = None
        self._file.write_text(CONFIGURATION.format(port=self.port, more=more))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        program = shutil.which("ngircd", path=PATHS)
        assert program, "There is no ngircd. Get it with: make ngircd"
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(program, "--nodaemon", "--config", str(self._file)),
                stdout=log,
                stderr=log,
                env={**os.environ, "LD_LIBRARY_PATH": str(LIBRARIES)},
            )
        async with asyncio.timeout(WAIT_S):
            while True:
                assert self._process.returncode is None, self._log.read_text()
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.kill()


class Person:
    """A person in channels of a server, as a stranger's client shows them.

    heard: (who, channel, text) of each line that others said. raw: everything the server said.
    """

    def __init__(self, nick: str, channels: tuple[str, ...]) -> None:
        self.nick = nick
        self.channels = channels
        self.heard: list[tuple[str, str, str]] = []
        self.raw: list[str] = []
        self._changed = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def talking(cls, server: IrcServer, nick: str, *channels: str) -> AsyncIterator[Self]:
        """Be there during the block."""
        person = cls(nick, channels)
        await person.connect(server.port)
        try:
            yield person
        finally:
            await person.leave()

    async def connect(self, port: int) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        self._task = asyncio.create_task(self._read())
        self.type(f"NICK {self.nick}", f"USER {self.nick} 0 * :{self.nick}")
        begun = len(self.raw)
        for channel in self.channels:
            self.type(f"JOIN {channel}")
            await self.until(
                lambda channel=channel: any(  # type: ignore[misc]
                    f" 366 {self.nick} {channel} " in line for line in self.raw[begun:]
                )
            )

    async def leave(self) -> None:
        self._writer.close()
        self._task.cancel()
        await asyncio.wait({self._task})

    def type(self, *lines: str) -> None:
        """Send commands of IRC."""
        self._writer.writelines(f"{line}\r\n".encode() for line in lines)

    def say(self, text: str, channel: str | None = None) -> None:
        self.type(f"PRIVMSG {channel or self.channels[0]} :{text}")

    def told(self, channel: str | None = None, by: str = "rosey") -> list[str]:
        """Return what the bot has said in a channel."""
        where = channel or self.channels[0]
        return [text for who, place, text in self.heard if (who, place) == (by, where)]

    async def until(self, reached: Callable[[], bool], limit_s: float = WAIT_S) -> None:
        """Wait until what the server said makes `reached` true."""
        try:
            async with asyncio.timeout(limit_s):
                while not reached():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError("\n".join(self.raw[-40:])) from None

    async def until_told(self, text: str, channel: str | None = None) -> None:
        await self.until(lambda: text in self.told(channel))

    async def until_raw(self, part: str) -> None:
        await self.until(lambda: any(part in line for line in self.raw))

    async def _read(self) -> None:
        while data := await self._reader.readline():
            line = data.decode().rstrip("\r\n")
            self.raw.append(line)
            match line.split(" ", 3):
                case ["PING", *_]:
                    self.type(line.replace("PING", "PONG", 1))
                case [source, "PRIVMSG", channel, text]:
                    self.heard.append((source[1:].partition("!")[0], channel, text[1:]))
            self._changed.set()
