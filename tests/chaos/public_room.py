"""A chaos run in a public room: 50 people, roles, limits, budgets, and money counted twice.

The engine charges each turn by `[prices]`, the model server bills each call by a table of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.traffic.embedded.server import EmbeddedNats
from tests.chaos import admission, books, charges, overruns
from tests.chaos.books import Books
from tests.chaos.bots import Bot, RequestLog
from tests.chaos.counting_llm import PRICES, CountingLLMServer
from tests.chaos.overruns import DailyBudget, Overruns
from tests.chaos.people import ACCESS, LIMITS, PERMISSIONS, Person, people
from tests.chaos.run import Plan, RunResult, run
from tests.chaos.scene import Scene
from tests.chaos.verdict import SHOWN, format_table
from tests.chaos.witness import Ledger

TOTAL_USD = 50.0
CREATIVE_TOKENS = 4000


class PublicRoom(Scene):
    """50 people in one room, of whom some may do more, some less."""

    rest_s = 20.0
    records_charges = True
    model: CountingLLMServer

    def __init__(self, plan: Plan) -> None:
        super().__init__(random.Random(plan.seed), plan.bots, plan.channels)
        # Those who flood the room use theirs up before the end of an hour.
        self._user_tokens = 3000 + int(10 * plan.seconds)

    @property
    def budgets(self) -> list[DailyBudget]:
        return [
            DailyBudget("u:", "tokens", self._user_tokens),
            DailyBudget("p:creative", "tokens", CREATIVE_TOKENS),
            DailyBudget("*", "usd", int(TOTAL_USD * 1_000_000)),
        ]

    def _new_model(self, rng: random.Random) -> CountingLLMServer:
        return CountingLLMServer(rng)

    def bots(self, ledger: Ledger, request_log: RequestLog) -> list[Bot]:
        return [
            Person(identity, ledger, request_log, random.Random(self._rng.random()))
            for identity in people()
        ]

    def config(self, nats: EmbeddedNats) -> dict[str, Any]:
        prices = {
            f'prices."{model}"': {"input": float(new), "cached": float(old), "output": float(out)}
            for model, (new, old, out) in PRICES.items()
        }
        room = {"mailbox_limit": 40, "mailbox_limit_per_user": 4}
        config = super().config(nats)
        config["channels"] |= room
        return {
            **config,
            "permissions": PERMISSIONS,
            "access": ACCESS,
            "limits": LIMITS,
            "budgets": {
                "user_tokens_per_day": self._user_tokens,
                "total_usd_per_day": TOTAL_USD,
            },
            "budgets.by_persona.creative": {"tokens_per_day": CREATIVE_TOKENS},
            **prices,
        }


@dataclass(frozen=True)
class RoomResult:
    """`run`: whether anything was lost, doubled or out of order. faults: of admission and sums."""

    run: RunResult
    books: Books
    overruns: Overruns
    faults: list[str]

    @property
    def good(self) -> bool:
        return self.run.good and not self._all_faults

    def lines(self) -> Iterator[str]:
        *lines, _ = self.run.lines()
        yield from lines
        rows = [
            *self.books.lines(),
            *self.overruns.lines(),
            ("let in, kept out or summed wrongly (must be 0)", len(self.faults)),
        ]
        yield from format_table(rows)
        for fault in self._all_faults[: 2 * SHOWN]:
            yield f"  {fault:.1000}"
        yield "good" if self.good else "NOT GOOD"

    @property
    def _all_faults(self) -> list[str]:
        return [*self.books.faults, *self.overruns.faults, *self.faults]


async def run_room(
    plan: Plan, folder: Path, report: Callable[[str], None] = lambda _: None
) -> RoomResult:
    """Carry out a run in a public room."""
    scene = PublicRoom(plan)
    result = await run(plan, folder, report, scene)
    evidence = result.evidence
    charged, calls = charges.read(evidence.run_folder), scene.model.billed
    found = books.compare(calls, charged, evidence.damage.starts)
    overrun = overruns.find(evidence.run_folder, charged, calls, scene.budgets)
    identities = {identity.name: identity for identity in people()}
    faults = [
        *admission.faults(evidence, identities),
        *books.wrong_sums(evidence.run_folder, charged),
    ]
    return RoomResult(result, found, overrun, faults)
