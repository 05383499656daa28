"""An actor's mailbox: a bounded queue of envelopes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from engine.commands.records import Erased
from engine.commands.request import Request
from engine.errors import Busy
from storage.mailboxes import Accepted, AlreadyWaiting, Settled

Acceptance = Accepted | AlreadyWaiting | Settled


class Envelope(NamedTuple):
    """A request in a mailbox.

    `accepted` ends once the command stands in the durable mailbox; no turn starts before.
    `size_bytes` is what the command takes there, `accepted_ms` since when, by the wall clock.
    `attempted`: its first attempt was counted in the same commit, since it need not wait.
    """

    request: Request
    accepted: asyncio.Future[Acceptance]
    size_bytes: int
    accepted_ms: int
    attempted: bool = False

    @property
    def is_accepted(self) -> bool:
        """Whether the command is known to have stood in the durable mailbox."""
        done = self.accepted
        known = done.done() and not done.cancelled() and done.exception() is None
        return known and isinstance(done.result(), Accepted)


@dataclass(frozen=True, slots=True)
class MailboxStatistics:
    waiting: int
    waiting_bytes: int


NOTHING: deque[Envelope] = deque(maxlen=0)  # what all empty mailboxes share; never put into
NO_IDS: set[str] = set()


class Mailbox:
    """Envelopes in the order in which they came; a full one refuses and says so.

    Most mailboxes are empty, and an empty one has no containers of its own.
    """

    __slots__ = ("_bytes", "_envelopes", "_limit", "_limit_bytes", "_request_ids")

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self._envelopes = NOTHING
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._request_ids = NO_IDS
        self._bytes = 0

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._request_ids

    def __len__(self) -> int:
        return len(self._envelopes)

    def set_limits(self, limit: int, limit_bytes: int) -> None:
        """New limits for what is yet to come; what waits already stays."""
        self._limit, self._limit_bytes = limit, limit_bytes

    def check_room(self, size_bytes: int) -> None:
        """Raises Busy, with how many wait, where a command of this size does not fit."""
        ahead = len(self._envelopes)
        if ahead >= self._limit or (ahead and self._bytes + size_bytes > self._limit_bytes):
            raise Busy(
                f"This channel is busy: {ahead} messages are waiting. Try again shortly.",
                retry_after_s=float(ahead),
                ahead=ahead,
            )

    def put(self, envelope: Envelope) -> None:
        """Append. What was accepted before a restart has its place whatever the limits are now."""
        if not self._envelopes:
            self._envelopes, self._request_ids = deque(), set()
        self._envelopes.append(envelope)
        self._request_ids.add(envelope.request.request_id)
        self._bytes += envelope.size_bytes

    def take(self) -> Envelope:
        """The oldest envelope. IndexError where there is none."""
        envelope = self._envelopes.popleft()
        self._request_ids.discard(envelope.request.request_id)
        self._bytes -= envelope.size_bytes
        if not self._envelopes:
            self._envelopes, self._request_ids = NOTHING, NO_IDS
        return envelope

    def erase(self, request_ids: Collection[str]) -> None:
        """Leave nothing of these requests but their places."""
        for index, envelope in enumerate(self._envelopes):
            request = envelope.request
            if request.request_id in request_ids:
                emptied = Request(
                    request.channel_id, request.request_id, "", Erased(), request.replies
                )
                self._envelopes[index] = envelope._replace(request=emptied)

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest envelope was accepted; None where there is none."""
        return self._envelopes[0].accepted_ms if self._envelopes else None

    def statistics(self) -> MailboxStatistics:
        return MailboxStatistics(len(self._envelopes), self._bytes)
