"""An actor's mailbox: a bounded queue of envelopes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from math import ceil
from typing import NamedTuple

from engine.commands.records import Erased
from engine.commands.request import Request
from engine.errors import Busy
from engine.texts import sentences
from storage.mailboxes import Accepted, AlreadyWaiting
from storage.outbox import Settled

Acceptance = Accepted | AlreadyWaiting | Settled


class Envelope(NamedTuple):
    """A request in a mailbox.

    accepted: done once the command is stored in the durable mailbox; no turn starts earlier.
    size_bytes: the size of the command there.
    accepted_ms: when it was accepted, in wall-clock milliseconds.
    attempted: its first attempt was counted in the same commit, because it need not wait.
    cancelled: its sender wants no answer any more.
    ahead: the number of commands before it when it came.
    """

    request: Request
    accepted: asyncio.Future[Acceptance]
    size_bytes: int
    accepted_ms: int
    attempted: bool = False
    cancelled: bool = False
    ahead: int = 0

    @property
    def is_accepted(self) -> bool:
        """Whether the command is known to have been stored in the durable mailbox."""
        done = self.accepted
        known = done.done() and not done.cancelled() and done.exception() is None
        return known and isinstance(done.result(), Accepted)


class Mailbox:
    """A queue of envelopes in the order of their arrival; a full one refuses more with Busy.

    Most mailboxes are empty, and an empty one holds no containers, to save memory.
    """

    __slots__ = ("_bytes", "_envelopes", "_limit", "_limit_bytes", "_request_ids")

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self._envelopes: deque[Envelope] | None = None
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._request_ids: set[str] | None = None
        self._bytes = 0

    def __contains__(self, request_id: str) -> bool:
        return self._request_ids is not None and request_id in self._request_ids

    def __len__(self) -> int:
        return len(self._envelopes) if self._envelopes is not None else 0

    def set_limits(self, limit: int, limit_bytes: int) -> None:
        """Set the limits for new envelopes; those that wait already stay."""
        self._limit, self._limit_bytes = limit, limit_bytes

    def check_room(self, size_bytes: int, retry_after_s: Callable[[int], float]) -> None:
        """Raise Busy if a command of this size does not fit.

        retry_after_s: called with the number of commands ahead, if it does not.
        """
        ahead = len(self)
        if ahead >= self._limit or (ahead and self._bytes + size_bytes > self._limit_bytes):
            wait_s = retry_after_s(ahead)
            said = sentences.CHANNEL_BUSY(number=ahead, seconds=ceil(wait_s))
            raise Busy(said, retry_after_s=wait_s, ahead=ahead)

    def put(self, envelope: Envelope) -> None:
        """Append an envelope, without checking the limits: it may come from before a restart."""
        if self._envelopes is None or self._request_ids is None:
            self._envelopes, self._request_ids = deque(), set()
        self._envelopes.append(envelope)
        self._request_ids.add(envelope.request.request_id)
        self._bytes += envelope.size_bytes

    def take(self) -> Envelope:
        """Remove and return the oldest envelope. Raises IndexError if the mailbox is empty."""
        if self._envelopes is None or self._request_ids is None:
            raise IndexError("The mailbox is empty.")
        envelope = self._envelopes.popleft()
        self._request_ids.discard(envelope.request.request_id)
        self._bytes -= envelope.size_bytes
        if not self._envelopes:
            self._envelopes = self._request_ids = None
        return envelope

    def remove(self, envelope: Envelope) -> bool:
        """Remove a command that could not be stored; return False if it does not wait here."""
        if self._envelopes is None or self._request_ids is None:
            return False
        kept = [each for each in self._envelopes if each.accepted is not envelope.accepted]
        if len(kept) == len(self._envelopes):
            return False
        self._envelopes = deque(kept) if kept else None
        self._bytes -= envelope.size_bytes
        self._request_ids.discard(envelope.request.request_id)
        if not kept:
            self._request_ids = None
        return True

    def erase(self, request_ids: Collection[str]) -> None:
        """Remove the content of these requests; they keep their places."""
        if self._envelopes is None:
            return
        for index, envelope in enumerate(self._envelopes):
            request = envelope.request
            if request.request_id in request_ids:
                emptied = Request(
                    request.channel_id, request.request_id, "", Erased(), request.replies
                )
                self._envelopes[index] = envelope._replace(request=emptied)

    def cancel(self, request_id: str) -> None:
        """Mark this request as cancelled; it keeps its place."""
        for index, envelope in enumerate(self._envelopes or ()):
            if self._envelopes is not None and envelope.request.request_id == request_id:
                self._envelopes[index] = envelope._replace(cancelled=True)

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest envelope was accepted; None if the mailbox is empty."""
        return self._envelopes[0].accepted_ms if self._envelopes else None
