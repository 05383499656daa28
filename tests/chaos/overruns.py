"""Whether a run's engines kept to their budgets: no attempt that began on a spent one asks a model.

A budget is spent when the charges on disk reach it. What was in flight by then may still be added.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from storage.usage import Charge
from tests.chaos.charges import ChargedTurn
from tests.chaos.counting_llm import Call
from tests.chaos.ground import RunFolder

DAY_MS = 86_400_000
Begun = Mapping[str, Sequence[tuple[int, int]]]


@dataclass(frozen=True)
class DailyBudget:
    """A budget of a day. scope: as in the table `usage`; "u:" is each user."""

    scope: str
    unit: str
    amount: int

    def concerns(self, scope: str) -> bool:
        return scope == self.scope or (self.scope == "u:" and scope.startswith("u:"))

    def part(self, charge: Charge) -> int:
        """Return what a charge takes of it."""
        if self.unit == "usd":
            return charge.micro_usd
        return charge.prompt_tokens + charge.completion_tokens


@dataclass
class Overruns:
    """How many budgets were spent, and the attempts that asked a model all the same.

    in_flight: how many turns were charged to one budget after it was spent, at most.
    """

    spent: int = 0
    in_flight: int = 0
    faults: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[tuple[str, object]]:
        yield "budgets spent", self.spent
        yield "  turns in flight then, at most", self.in_flight
        yield "  asked on a spent budget (must be 0)", len(self.faults)


def find(
    run_folder: RunFolder,
    turns: Sequence[ChargedTurn],
    calls: Mapping[str, Sequence[Call]],
    budgets: Sequence[DailyBudget],
) -> Overruns:
    """Return how far budgets were overrun."""
    found, begun = Overruns(), defaultdict(list)
    for row in run_folder.rows("SELECT request_id, at_ms, charged FROM chaos_begun ORDER BY n"):
        begun[row["request_id"]].append((row["at_ms"], row["charged"]))
    for budget in budgets:
        spent, late = _spent(turns, budget)
        found.spent += len(spent)
        found.in_flight = max([found.in_flight, *late.values()])
        for turn in turns:
            asked = calls.get(turn.key[1], ())
            for scope in {each for charge in turn.charges for each in charge.scopes}:
                for call in asked if budget.concerns(scope) else ():
                    by = spent.get((scope, call.began_ms // DAY_MS))
                    if by is not None and _charged_before(call, begun) >= by:
                        found.faults.append(f"{scope}: {call} was asked, and {budget} was spent")
    return found


def _spent(
    turns: Sequence[ChargedTurn], budget: DailyBudget
) -> tuple[dict[tuple[str, int], int], Counter[tuple[str, int]]]:
    """Return by which turn's number a budget was spent, and how many more it was charged with."""
    sums: Counter[tuple[str, int]] = Counter()
    spent: dict[tuple[str, int], int] = {}
    late: Counter[tuple[str, int]] = Counter()
    for turn in turns:
        parts: Counter[tuple[str, int]] = Counter()
        for charge in turn.charges:
            for scope in filter(budget.concerns, charge.scopes):
                parts[scope, charge.day] += budget.part(charge)
        for key, part in parts.items():
            sums[key] += part
            if key in spent:
                late[key] += part > 0
            elif sums[key] >= budget.amount:
                spent[key] = turn.number
    return spent, late


def _charged_before(call: Call, begun: Begun) -> int:
    """Return how many turns had been charged when the attempt began that made this call."""
    return max(
        (charged for at_ms, charged in begun[call.request_id] if at_ms <= call.began_ms), default=0
    )
