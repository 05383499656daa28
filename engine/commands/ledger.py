"""The interface to a command's durable life: accepted, attempted, settled, published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from engine.commands.outcomes import Answer, Failure
from engine.commands.request import Request
from storage.errors import StorageUnavailable
from storage.history import Row
from storage.mailboxes import Acceptance, AlreadyWaiting, Waiting
from storage.outbox import Settled
from storage.usage import Charge

if TYPE_CHECKING:
    import asyncio


@dataclass(frozen=True, slots=True)
class Void:
    """The result of settling a command that no longer waits: another outcome has ended it."""


class DropOutcome(NamedTuple):
    """A waiting command that a stop drops: its mailbox row, its outcome and its history rows."""

    row_id: int
    request: Request
    outcome: Answer | Failure
    rows: Sequence[Row]
    charges: Sequence[Charge] = ()


class StopOutcome(NamedTuple):
    """A stop that ended something: its outcome, its history row, and what it drops."""

    request: Request
    outcome: Answer
    row: Row
    drops: Sequence[DropOutcome] = ()

    @property
    def row_count(self) -> int:
        """The number of history rows, also of what it drops."""
        return 1 + sum(len(drop.rows) for drop in self.drops)


class Undecided(StorageUnavailable):
    """It is not known whether an outcome was committed; settling again is safe."""


class Ledger(Protocol):
    """The interface of what keeps commands and their outcomes; `LocalLedger` implements it.

    What its methods return is durable.

    Times are wall-clock milliseconds, salts are those of the history's rows; both come from the
    caller, so that a ledger adds nothing of its own. Methods raise StorageUnavailable if nothing
    was kept.
    """

    def accept(
        self, request: Request, body: bytes, *, accepted_ms: int, attempts: int
    ) -> asyncio.Future[Acceptance]:
        """Put a command into its channel's mailbox, in the order of the calls, without waiting.

        body: the encoded command. attempts: 1 if its turn starts as soon as it is accepted.
        """

    async def attempt(self, row_id: int) -> int:
        """Count one more attempt; return their number, 0 if the command is settled."""

    async def settle(
        self,
        row_id: int,
        request: Request,
        rows: Sequence[Row],
        outcome: Answer | Failure,
        *,
        now_ms: int,
        salts: Sequence[bytes],
        stops: Sequence[StopOutcome] = (),
        charges: Sequence[Charge] = (),
    ) -> Settled | Void:
        """End a command that waits: its rows, its outcome and its place, in one commit.

        Raises Undecided.

        salts: one for each row, also of the stops.
        stops: the stops that ended its turn, with what they drop; the rows of each follow, its own
            behind those of what it drops.
        charges: what the turn adds to the sums of `storage/usage.py`.
        """

    async def settle_stop(
        self, stop: StopOutcome, *, now_ms: int, salts: Sequence[bytes]
    ) -> Settled:
        """End a stop and the waiting commands that it drops, in one commit.

        Sent again, it gets its first outcome and drops nothing.

        salts: one for each row.
        """

    async def find(self, request: Request) -> Settled | None:
        """Return the outcome of a request that is settled, addressed to this sender."""

    async def join(self, request: Request) -> AlreadyWaiting | Settled | None:
        """Send the outcome of a known request to this sender, too; None if it is not known."""

    def published(self, outbox_ids: Sequence[int], *, now_ms: int) -> asyncio.Future[None]:
        """Note that outcomes were published; not urgent, and safe to lose."""

    async def waiting(self) -> list[Waiting]:
        """Return the commands that wait, oldest first."""

    async def unpublished(self) -> list[Settled]:
        """Return the outcomes that may not have been published, oldest first."""
