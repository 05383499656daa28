"""A record of what each turn of a chaos run is charged with, in the transaction of its outcome.

The product keeps only sums. An engine process installs this as it installs a kill point.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import orjson

from storage import settlement
from storage.commands import Settle
from storage.outbox import Settled
from storage.usage import Charge
from tests.chaos.ground import RunFolder
from tests.chaos.kill_points import replace_attribute
from tests.chaos.witness import Key


class ChargedTurn(NamedTuple):
    """What a turn was charged with. at_ms: when it was settled. number: its place in the run.

    attempts: how often it was begun, or was to be begun.
    own: for the call that has its outcome, or that ended without one; None if there was none.
    lost: for calls whose outcome was lost: first those of the engine that settled the turn, then
        one for each attempt that the end of an engine cut.
    """

    key: Key
    number: int
    at_ms: int
    attempts: int
    own: Charge | None
    lost: Sequence[Charge]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        charges = [Charge(*each) for each in orjson.loads(row["charges"])]
        own = [each for each in charges if each.requests]
        return cls(
            (row["channel"], row["request_id"]),
            row["n"],
            row["at_ms"],
            row["attempts"],
            own[0] if own else None,
            [each for each in charges if not each.requests],
        )

    @property
    def charges(self) -> list[Charge]:
        return [*([self.own] if self.own else []), *self.lost]

    @property
    def of_killed(self) -> Sequence[Charge]:
        """The charges among `lost` for attempts that the end of an engine cut."""
        cut = self.attempts - (self.own is not None)
        return self.lost[max(0, len(self.lost) - cut) :]


def read(run_folder: RunFolder) -> list[ChargedTurn]:
    """Return what all turns of a run were charged with, in order."""
    rows = run_folder.rows("SELECT * FROM chaos_charged ORDER BY n")
    return [ChargedTurn.of(row) for row in rows]


def install() -> None:
    """Record the charges of this process."""
    settle_all = settlement.settle_all

    def settle_and_record(
        connection: sqlite3.Connection, outcomes: Sequence[Settle]
    ) -> list[Settled | None]:
        attempts = dict(connection.execute("SELECT id, attempts FROM mailbox"))
        results = settle_all(connection, outcomes)
        connection.executemany(
            "INSERT INTO chaos_charged (channel, request_id, attempts, charges, at_ms)"
            " VALUES (?, ?, ?, ?, ?)",
            [
                (
                    outcome.channel,
                    outcome.request_id,
                    attempts[outcome.row_id],
                    orjson.dumps([list(charge) for charge in outcome.charges]),
                    outcome.now_ms,
                )
                for outcome, settled in zip(outcomes, results, strict=True)
                if settled is not None and outcome.charges
            ],
        )
        return results

    replace_attribute(settlement, "settle_all", settle_and_record)
