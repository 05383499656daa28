"""An actor's mailbox: a bounded queue of envelopes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from math import ceil
from typing import NamedTuple, NoReturn

from engine.actors.mailbox_limits import KEPT, KEPT_FOR_ONE, MailboxLimits
from engine.commands.records import CONTROL, Erased
from engine.commands.request import Request
from engine.commands.sender import sender_of
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
    sender: whose commands are counted together with it; None if nobody's are.
    lost: attempts of an earlier process, which it cut.
    """

    request: Request
    accepted: asyncio.Future[Acceptance]
    size_bytes: int
    accepted_ms: int
    attempted: bool = False
    cancelled: bool = False
    ahead: int = 0
    sender: str | None = None
    lost: int = 0

    @property
    def is_accepted(self) -> bool:
        """Whether the command is known to have been stored in the durable mailbox."""
        return self.row_id is not None

    @property
    def row_id(self) -> int | None:
        """Its row in the durable mailbox; None if it is not known to have one."""
        done = self.accepted
        known = done.done() and not done.cancelled() and done.exception() is None
        acceptance = done.result() if known else None
        return acceptance.id if isinstance(acceptance, Accepted) else None

    @property
    def is_control(self) -> bool:
        return isinstance(self.request.command, CONTROL)


class _UsedShare(NamedTuple):
    """How many commands a sender has, how many it may have, and the turns until one has ended."""

    number: int
    limit: int
    turns: int


class Mailbox:
    """A queue of envelopes in the order of their arrival; a full one refuses more with Busy.

    Most mailboxes are empty, and an empty one holds no containers, to save memory.
    """

    __slots__ = ("_aside", "_bytes", "_envelopes", "_limits", "_request_ids")

    def __init__(self, limits: MailboxLimits) -> None:
        self._envelopes: deque[Envelope] | None = None
        self._limits = limits
        self._request_ids: set[str] | None = None
        self._aside: frozenset[str] = frozenset()
        self._bytes = 0

    def __contains__(self, request_id: str) -> bool:
        return self._request_ids is not None and request_id in self._request_ids

    def __len__(self) -> int:
        return len(self._envelopes) if self._envelopes is not None else 0

    @property
    def is_ready(self) -> bool:
        """Whether there is an envelope to take, and it is not set aside."""
        if self._envelopes is None:
            return False
        return not self._aside or self._envelopes[0].request.request_id not in self._aside

    def set_limits(self, limits: MailboxLimits) -> None:
        """Set the limits for new envelopes; those that wait already stay."""
        self._limits = limits

    def check_room(
        self,
        size_bytes: int,
        retry_after_s: Callable[[int], float],
        sender: str | None = None,
        *,
        running: str | None = None,
        is_control: bool = False,
    ) -> None:
        """Raise Busy if a command of this size and sender does not fit.

        A control command fits into a place that is kept for such, too.

        retry_after_s: called with the number of commands ahead, if it does not.
        running: the sender of the command that is being carried out.
        """
        limits, ahead = self._limits, len(self)
        is_full = ahead >= limits.commands or (
            ahead > 0 and self._bytes + size_bytes > limits.size_bytes
        )
        is_few = ahead + 1 < min(limits.per_sender, limits.half, KEPT_FOR_ONE)
        own: list[int] = []
        share: _UsedShare | None = None
        if not is_few:
            own = self._places(sender)
            share = self._used_share(own, is_running=sender is not None and sender == running)
        if is_full or share is not None:
            if is_control and ahead < limits.commands + KEPT and self._has_kept_place(own):
                return
            self._refuse(None if is_full else share, retry_after_s)

    def _used_share(self, own: Sequence[int], *, is_running: bool) -> _UsedShare | None:
        """Return the share of a sender with these places that is used up; None if none is.

        is_running: whether a command of this sender is being carried out.
        """
        limits = self._limits
        if (there := len(own) + is_running) >= limits.per_sender:
            # Turns from here to the end of its next one: the running one, those between, its own.
            turns = 1 if is_running else own[0] + 2
            return _UsedShare(there, limits.per_sender, turns)
        if len(own) >= limits.half:
            return _UsedShare(len(own), limits.half, own[0] + 1)
        return None

    def _places(self, sender: str | None) -> list[int]:
        """Return the places of what this sender has waiting, the next first."""
        if sender is None or self._envelopes is None:
            return []
        return [place for place, each in enumerate(self._envelopes) if each.sender == sender]

    def _has_kept_place(self, own: Sequence[int]) -> bool:
        """Return whether a sender with these places may have one more that is kept."""
        envelopes = self._envelopes or ()
        return sum(envelopes[place].is_control for place in own) < KEPT_FOR_ONE

    def _refuse(self, share: _UsedShare | None, retry_after_s: Callable[[int], float]) -> NoReturn:
        ahead = len(self)
        if share is not None:
            number, limit, turns = share
            wait_s = retry_after_s(turns)
            said = sentences.SHARE_USED(number=number, limit=limit, seconds=ceil(wait_s))
        else:
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
        """Remove and return the oldest envelope. Raises IndexError if the mailbox is empty.

        One that is set aside is not to be taken (`is_ready`).
        """
        if self._envelopes is None or self._request_ids is None:
            raise IndexError("The mailbox is empty.")
        envelope = self._envelopes.popleft()
        self._request_ids.discard(envelope.request.request_id)
        self._bytes -= envelope.size_bytes
        if not self._envelopes:
            self._envelopes = self._request_ids = None
        return envelope

    def remove(self, envelope: Envelope) -> bool:
        """Remove a command; return False if it does not wait here."""
        kept = [each for each in self._envelopes or () if each.accepted is not envelope.accepted]
        return self._keep(kept)

    # What a stop drops.

    def waiting_of(self, sender: str | None, *, everything: bool) -> list[str]:
        """Return the ids of what this sender, or everybody, has waiting, the next first."""
        return [
            each.request.request_id
            for each in self._envelopes or ()
            if everything or (sender is not None and sender_of(each.request) == sender)
        ]

    def set_aside(self, request_ids: Collection[str]) -> frozenset[str]:
        """Let none of these be taken until `put_back` or `remove_all`; return which wait here.

        What is not known to be stored, or was set aside before, is left alone.
        """
        found = frozenset(
            each.request.request_id for each in self.envelopes(request_ids) if each.is_accepted
        )
        found -= self._aside
        self._aside |= found
        return found

    def envelopes(self, request_ids: Collection[str]) -> list[Envelope]:
        """Return the envelopes of these requests that wait here, the oldest first."""
        return [each for each in self._envelopes or () if each.request.request_id in request_ids]

    def put_back(self, request_ids: Collection[str]) -> None:
        """Let these be taken again, at their old places."""
        self._aside = self._aside.difference(request_ids)

    def remove_all(self, request_ids: Collection[str]) -> None:
        """Remove these requests, which were set aside."""
        self._keep(
            [each for each in self._envelopes or () if each.request.request_id not in request_ids]
        )
        self.put_back(request_ids)

    def _keep(self, kept: Collection[Envelope]) -> bool:
        """Keep only these envelopes; return False if these are all."""
        if len(kept) == len(self):
            return False
        self._envelopes = deque(kept) if kept else None
        self._request_ids = {each.request.request_id for each in kept} or None
        self._bytes = sum(each.size_bytes for each in kept)
        return True

    # What becomes of a request while it waits.

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
                self._envelopes[index] = envelope._replace(request=emptied, sender=None)

    def cancel(self, request_id: str) -> None:
        """Mark this request as cancelled; it keeps its place."""
        for index, envelope in enumerate(self._envelopes or ()):
            if self._envelopes is not None and envelope.request.request_id == request_id:
                self._envelopes[index] = envelope._replace(cancelled=True)

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest envelope was accepted; None if the mailbox is empty."""
        return self._envelopes[0].accepted_ms if self._envelopes else None
