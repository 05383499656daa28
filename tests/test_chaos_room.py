"""A short run of `make chaos ARGS=--room`, and that its books find what is wrong."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage.usage import Charge
from tests.chaos import overruns
from tests.chaos.books import Pile, compare, wrong_sums
from tests.chaos.charges import ChargedTurn
from tests.chaos.counting_llm import Call
from tests.chaos.ground import RunFolder
from tests.chaos.overruns import DAY_MS, DailyBudget
from tests.chaos.public_room import run_room
from tests.chaos.run import Plan

SEED = int(os.environ.get("ROSEY_LLM_CHAOS_SEED", "20"))


@pytest.mark.real
@pytest.mark.process
@pytest.mark.timeout(600)
async def test_money_is_counted_alike_by_engines_that_are_killed_and_by_the_provider(
    tmp_path: Path,
) -> None:
    result = await run_room(Plan(seed=SEED, kills=10**6, seconds=60), tmp_path)
    report = "\n".join(result.lines())
    assert result.good, report
    assert result.run.evidence.damage.killed >= 3, report
    assert result.books.settled.calls >= 100, report
    assert result.books.settled.real == result.books.settled.charged > 0, report
    assert result.overruns.spent >= 1, report
    refused = set(result.run.evidence.ledger.refused.values())
    assert {"not_allowed", "limit_reached"} <= refused, report


def call(request_id: str = "r1", **more: Any) -> Call:
    usual = Call(request_id, "test-model", 1000, 100, 0, 30, is_complete=True)
    return replace(usual, **more)


COUNTED = Charge(("*", "c:#a"), 20_000, prompt_tokens=100, completion_tokens=30, micro_usd=33)
FAILED = COUNTED._replace(prompt_tokens=0, completion_tokens=0, micro_usd=0)
STOPPED = COUNTED._replace(estimated=1, micro_usd=20)
LOST = COUNTED._replace(requests=0, estimated=1, micro_usd=40)


def turn(request_id: str, own: Charge | None, *lost: Charge, attempts: int = 1) -> ChargedTurn:
    return ChargedTurn(("#a", request_id), 1, 2000, attempts, own, lost)


def test_the_price_of_a_call_is_rounded_up_once() -> None:
    assert call().micro_usd == 33  # 100 * 0.15 + 30 * 0.6
    assert call(prompt_tokens=101).micro_usd == 34
    assert call(prompt_tokens=103, cached_tokens=100).micro_usd == 26
    assert call(has_failed=True).micro_usd == 0


def test_the_books_put_each_call_on_its_pile() -> None:
    calls = {
        "settled": [call("settled")],
        "failed": [call("failed", has_failed=True)],
        "stopped": [call("stopped", is_complete=False, completion_tokens=3)],
        "late": [call("late", is_complete=False, completion_tokens=0)],
        "again": [call("again", began_ms=400), call("again")],
        "never": [call("never", began_ms=400)],
    }
    turns = [
        turn("settled", COUNTED),
        turn("failed", FAILED),
        turn("stopped", STOPPED),
        turn("late", FAILED, LOST),
        turn("again", COUNTED, LOST, LOST, attempts=3),  # one was cut before its call
        turn("never", None, LOST),
        turn("nothing", FAILED),
    ]
    books = compare(calls, turns, [300, 900])
    assert books.faults == []
    assert books.settled == Pile(calls=2, real=66, charged=66)
    assert books.failed == Pile(calls=1)
    assert books.estimated == Pile(calls=2, real=17 + 15, charged=20 + 40, worst=25)
    assert books.killed == Pile(calls=2, real=66, charged=120, worst=40)


@pytest.mark.parametrize(
    ("calls", "turns"),
    [
        ([call()], [turn("r1", COUNTED._replace(micro_usd=34))]),
        ([call()], [turn("r1", COUNTED._replace(prompt_tokens=99))]),
        ([call()], [turn("r1", COUNTED), turn("r1", COUNTED)]),
        ([call(is_complete=False)], [turn("r1", COUNTED)]),
        ([], [turn("r1", COUNTED)]),
        ([call(has_failed=True)], [turn("r1", FAILED._replace(micro_usd=33))]),
        ([call(began_ms=400), call()], [turn("r1", COUNTED, attempts=2)]),
        (
            [call(began_ms=400), call()],
            [turn("r1", COUNTED, LOST._replace(micro_usd=16), attempts=2)],
        ),
        ([call()], []),
    ],
)
def test_what_is_counted_differently_is_a_fault(
    calls: list[Call], turns: list[ChargedTurn]
) -> None:
    by_id = {"r1": calls} if calls else {}
    assert len(compare(by_id, turns, [300, 900]).faults) == 1


def test_sums_that_are_not_those_of_the_charges_are_found(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.prepare({})
    found = wrong_sums(folder, [turn("r1", COUNTED)])
    assert len(found) == 2 * 4  # requests, two kinds of tokens and money, of two scopes


def test_a_call_on_a_spent_budget_is_found(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.prepare({})
    day = 20_000
    cost = Charge(("*", "u:a"), day, prompt_tokens=60)
    turns = [turn(f"r{number}", cost)._replace(number=number) for number in range(1, 5)]
    began = {"r1": 0, "r2": 1, "r3": 1, "r4": 2}  # after how many turns; the third was in flight
    with closing(sqlite3.connect(folder.database)) as connection, connection:
        connection.executemany(
            "INSERT INTO chaos_begun (request_id, charged, at_ms) VALUES (?, ?, 0)", began.items()
        )
    calls = {each: [call(each, began_ms=day * DAY_MS + 5)] for each in began}
    budgets = [DailyBudget("u:", "tokens", 120), DailyBudget("*", "tokens", 1000)]
    found = overruns.find(folder, turns, calls, budgets)
    assert (found.spent, found.in_flight, len(found.faults)) == (1, 2, 1)
    assert "u:a: Call(request_id='r4'" in found.faults[0]
