"""`IrcSession`: one TCP connection to an IRC server, with what comes in as events."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any

from irc import client_aio
from irc.client import Event
from jaraco.stream.buffer import LenientDecodingLineBuffer

from engine.interfaces.bots.irc_members import IrcDialect
from engine.interfaces.bots.irc_options import IrcOptions, IrcRefused

CONNECT_TIMEOUT_S = 30.0
PONG_TIMEOUT_S = 30.0
LONGEST_INPUT = 64 * 1024
REAL_NAME = "rosey-llm, a bot: type !chat help"


class IrcSession:
    """A connection from its first byte to its last one; after a loss there is a new one.

    - `events`: what the server said, in order; "disconnect" is the last one
    - `is_heard`: something came since it was set to False
    """

    def __init__(self, options: IrcOptions) -> None:
        self.options = options
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.is_heard = True
        reactor = client_aio.AioReactor(on_connect=self._negotiate, loop=asyncio.get_running_loop())
        reactor.add_global_handler("all_events", self._take)
        self._connection: Any = reactor.server()
        self._connection.protocol_class = _LineProtocol
        self._connection.buffer_class = LenientDecodingLineBuffer  # not everybody writes UTF-8
        self._numbers = 0
        self._sent: dict[str, tuple[str, asyncio.Future[bool]]] = {}

    @property
    def nick(self) -> str:
        return str(self._connection.get_nickname())

    @property
    def dialect(self) -> IrcDialect:
        """What the server has said of itself; complete soon after its welcome."""
        return IrcDialect.of(self._connection.features)

    @property
    def is_open(self) -> bool:
        return bool(self._connection.is_connected())

    async def connect(self) -> None:
        """Connect, and begin to register. Raise IrcRefused."""
        options = self.options
        context = ssl.create_default_context() if options.tls else None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._connection.connect(
                    options.host,
                    options.port,
                    options.nick,
                    password="" if options.account else options.secret,
                    username="".join(
                        filter(str.isalnum, options.nick.encode("ascii", "ignore").decode())
                    )[:9]
                    or "rosey",
                    ircname=REAL_NAME,
                    connect_factory=client_aio.connection.AioFactory(ssl=context),
                )
        except ssl.SSLCertVerificationError as exc:
            raise IrcRefused(
                f"the certificate of {options.address} is not valid here: {exc.verify_message}."
                " Name its authority's file in the environment variable SSL_CERT_FILE"
            ) from exc
        except ssl.SSLError as exc:
            raise IrcRefused(
                f"{options.address} does not speak TLS ({exc.reason}). Correct the port, or leave"
                " out --tls"
            ) from exc
        except TimeoutError as exc:
            raise IrcRefused(f"{options.address} does not answer. Correct --server") from exc
        except OSError as exc:
            why = exc.strerror or str(exc) or "it closes the connection"
            raise IrcRefused(
                f"{options.address} cannot be reached: {why}. Correct --server"
                f"{', or leave out --tls' if options.tls else ''}"
            ) from exc

    def send(self, *words: str) -> None:
        """Send a command. Its last word may have spaces if it begins with ":"."""
        if self.is_open:
            self._connection.send_items(*words)

    async def deliver(self, channel: str, line: str) -> bool:
        """Send a line; return False if the channel refuses it. Raise ConnectionError.

        IRC confirms nothing. So a PING follows each line, and its PONG says that the line came
        before: the connection was not lost in between.
        """
        if not self.is_open:
            raise ConnectionError
        self._numbers += 1
        token = f"said-{self._numbers}"
        taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._sent[token] = channel, taken
        self.send("PRIVMSG", channel, f":{line}")
        self.send("PING", token)
        try:
            async with asyncio.timeout(PONG_TIMEOUT_S):
                return await taken
        except TimeoutError:  # the server is alive, or the connection would be closed by now
            return True
        finally:
            del self._sent[token]

    def confirm(self, token: str) -> None:
        """Note the PONG for a line."""
        self._settle((key for key in self._sent if key == token), taken=True)

    def refuse(self, channel: str) -> None:
        """Note that a channel did not take a line."""
        self._settle((key for key, (name, _) in self._sent.items() if name == channel), taken=False)

    def close(self, message: str = "") -> None:
        """Leave with QUIT. What `send` was given goes out before."""
        self._connection.disconnect(message)

    def abandon(self) -> None:
        """End `deliver`: the connection is lost."""
        for _, taken in self._sent.values():
            if not taken.done():
                taken.set_exception(ConnectionError())

    def _settle(self, tokens: Iterable[str], *, taken: bool) -> None:
        for token in tokens:
            if not (future := self._sent[token][1]).done():
                future.set_result(taken)

    def _negotiate(self, *_: object) -> None:
        """Ask for capabilities before the nickname: the server then waits for their end."""
        self._connection.cap("LS", "302")

    def _take(self, _: object, event: Event) -> None:
        if event.type == "all_raw_messages":
            self.is_heard = True
        else:
            self.events.put_nowait(event)


class _LineProtocol(asyncio.Protocol):
    """The bytes of a connection, line by line: a line that `irc` cannot read costs only itself."""

    def __init__(self, connection: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._connection = connection
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_INPUT:
            self._connection.disconnect("Too long a line")
        for line in whole:
            try:
                self._connection.process_data(line.rstrip(b"\r") + b"\r\n")
            except (AttributeError, LookupError, TypeError, ValueError):
                continue  # it is no message of IRC

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.disconnect()
