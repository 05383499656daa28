"""The intake's client: a subclass of nats-py's client that uses its private API.

`engine/client/nats_client.py` has its base class; no other module uses private members of nats-py.

Overridden methods of `nats.aio.client.Client`:

_build_message          the only place where messages of two subjects are still in their order
_process_headers        headers that are not text must not end the read loop

Attribute of the client that is set: `_ps`, replaced by a parser that takes the same spaces as the
server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.protocol.parser import Parser

from engine.client.nats_client import NatsClient

Handler = Callable[[Msg], None]
# Valid JSON contains neither character, so no valid message changes.
_ODD_SPACES = bytes.maketrans(b"\v\f", b"\0\0")


class IntakeParser(Parser):
    """A parser that does not split words at a vertical tab or a form feed.

    nats-py splits there and the server does not, so a sender could break the connection by a reply
    subject with such a character.
    """

    async def parse(self, data: bytes = b"") -> None:
        await super().parse(data.translate(_ODD_SPACES))


class IntakeClient(NatsClient):
    """A client that hands each message to `handler` as soon as it is read from the socket.

    nats-py gives each subscription its own queue and task, so messages sent in turn on two subjects
    come out as 0,2,4,1,3,5. The order of a channel must hold across both subjects, and it still
    exists only in the read loop, which calls `_build_message` for one message after the other.
    It also bypasses nats-py's queues, which drop messages when full: only our mailboxes limit.

    The handler runs in the read loop: it must return at once and never raise. An exception there
    ends the loop silently, so no content of a message may cause one.
    """

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler
        self._ps = IntakeParser(self)

    async def start_intake(self, subject: str) -> Subscription:
        """Subscribe `subject` for the handler."""

        async def never(_: Msg) -> None:
            raise AssertionError("messages are handed over before they reach a queue")

        return await self.subscribe(subject, cb=never)

    async def _process_headers(self, headers: Any) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (ValueError, IndexError):  # malformed, or not text
            return None

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg | None:
        try:
            msg = super()._build_message(sid, subject, reply, data, headers)
        except UnicodeDecodeError:  # a reply subject that is not text cannot get an answer
            msg = super()._build_message(sid, subject, b"", data, headers)
        self._handler(msg)
        return None  # nats-py then does nothing more with the message
