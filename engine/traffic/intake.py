"""The client that takes messages in: each is handed over the moment it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.protocol.parser import Parser

from engine.traffic.client import NatsClient

Handler = Callable[[Msg], None]
# Neither may stand in JSON, so a message loses nothing by it.
_ODD_SPACES = bytes.maketrans(b"\v\f", b"\0\0")


class IntakeParser(Parser):
    """nats-py takes a vertical tab or a form feed for a space between words, the server does not:
    a reply subject with one in it would break the connection, whoever sends it.
    """

    async def parse(self, data: bytes = b"") -> None:
        await super().parse(data.translate(_ODD_SPACES))


class IntakeClient(NatsClient):
    """A client that hands messages to `handler` the moment they are read from the socket.

    nats-py gives each subscription a queue and a task of its own, so messages sent in turn on two
    subjects come out as 0,2,4,1,3,5. The order of a channel must hold over both subjects, and the
    only place where it still exists is the read loop, which calls `_build_message` for one message
    after the other. Handing over right there also means that no queue of nats-py's stands before
    our mailboxes: its limit, which drops, can never be the one that acts first.

    The handler runs inside the read loop: it must return at once and never raise. What raises there
    ends the loop without a word, so nothing that a sender can put into a message may.
    """

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler
        self._ps = IntakeParser(self)

    async def take_in(self, subject: str) -> Subscription:
        """Subscribe; the messages go to the handler."""

        async def never(_: Msg) -> None:
            raise AssertionError("messages are handed over before they reach a queue")

        return await self.subscribe(subject, cb=never)

    async def _process_headers(self, headers: Any) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (ValueError, IndexError):  # not headers, or not text
            return None

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg | None:
        try:
            msg = super()._build_message(sid, subject, reply, data, headers)
        except UnicodeDecodeError:  # nobody can be answered on a reply subject that is not text
            msg = super()._build_message(sid, subject, b"", data, headers)
        self._handler(msg)
        return None  # nats-py then takes the message for dealt with
