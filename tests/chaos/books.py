"""The books of a chaos run: what the provider counted and what the engine charged, call by call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from storage.usage import SUMS, Charge
from tests.chaos.charges import ChargedTurn
from tests.chaos.counting_llm import Call
from tests.chaos.ground import RunFolder

NOTHING = Charge((), 0, requests=0)


@dataclass
class Pile:
    """Calls that ended in one way. Money is in millionths of a dollar.

    real: by the provider. charged: by the engine. worst: the largest difference of one call.
    """

    calls: int = 0
    real: int = 0
    charged: int = 0
    worst: int = 0

    def add(self, call: Call | None, charge: Charge) -> None:
        real = 0 if call is None else call.micro_usd
        self.calls += call is not None
        self.real += real
        self.charged += charge.micro_usd
        self.worst = max(self.worst, abs(charge.micro_usd - real))

    def __str__(self) -> str:
        return (
            f"{self.calls} calls, charged {self.charged}, real {self.real},"
            f" difference {self.charged - self.real:+}, of one call at most {self.worst}"
        )


@dataclass
class Books:
    """All calls of a run, and the faults that the comparison has found.

    settled: the engine has what the provider counted: both must have the same money.
    failed: answered by an error, so that both must have none.
    estimated: stopped, or broken off, so that the provider could not say its count.
    killed: by the end of the engine that had asked; charged is the reservation for each attempt,
        also for one that was cut before its call. The difference must be under one reservation.
    """

    settled: Pile = field(default_factory=Pile)
    failed: Pile = field(default_factory=Pile)
    estimated: Pile = field(default_factory=Pile)
    killed: Pile = field(default_factory=Pile)
    faults: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[tuple[str, object]]:
        yield "money, in micro-USD", "by the engine, and by the provider"
        for name in ("settled", "failed", "estimated", "killed"):
            yield f"  {name}", getattr(self, name)
        yield "  counted differently (must be 0)", len(self.faults)


def compare(
    calls: Mapping[str, Sequence[Call]], turns: Sequence[ChargedTurn], starts_ms: Sequence[int]
) -> Books:
    """Return the books. starts_ms: when the engines of the run were started."""
    books = Books()
    by_id: dict[str, ChargedTurn] = {}
    for turn in turns:
        if turn.key[1] in by_id:
            books.faults.append(f"{turn.key} was settled twice")
        by_id[turn.key[1]] = turn
    for request_id, asked in calls.items():
        if request_id not in by_id:
            books.faults.append(f"{request_id} was asked and never charged: {asked}")
    for request_id, turn in by_id.items():
        since_ms = max((start for start in starts_ms if start <= turn.at_ms), default=0)
        asked = calls.get(request_id, ())
        _compare_killed(books, turn, [each for each in asked if each.began_ms < since_ms])
        _compare_own(books, turn, [each for each in asked if each.began_ms >= since_ms])
    return books


def _compare_killed(books: Books, turn: ChargedTurn, calls: Sequence[Call]) -> None:
    for call, charge in zip_longest(calls, turn.of_killed):
        books.killed.add(call, charge or NOTHING)
        if charge is None:
            books.faults.append(f"{turn.key}: nobody was charged for {call}, which a kill cut")
        elif call is not None and abs(call.micro_usd - charge.micro_usd) > charge.micro_usd:
            books.faults.append(f"{turn.key}: {call} was charged {charge.micro_usd} micro-USD")


def _compare_own(books: Books, turn: ChargedTurn, calls: Sequence[Call]) -> None:
    """Compare the calls of the engine that settled the turn."""
    rest, own = list(calls), turn.own
    beside = list(turn.lost[: len(turn.lost) - len(turn.of_killed)])
    if own is not None and _is_counted(own):
        call = rest.pop() if rest else None
        books.settled.add(call, own)
        if call is None or not call.is_complete or _said(call) != _said(own):
            books.faults.append(f"{turn.key}: {call} was charged {_said(own)}")
    elif own is not None and rest and rest[-1].has_failed:
        call = rest.pop()
        books.failed.add(call, own)
        if own.micro_usd:
            books.faults.append(f"{turn.key}: {call} failed, and was charged {own.micro_usd}")
    elif own is not None:
        beside.append(own)
    for call, charge in zip_longest(rest, beside):
        books.estimated.add(call, charge or NOTHING)


def _is_counted(charge: Charge) -> bool:
    return not charge.estimated and charge.prompt_tokens > 0


def _said(of: Call | Charge) -> tuple[int, ...]:
    return of.prompt_tokens, of.cached_tokens, of.completion_tokens, of.micro_usd


def wrong_sums(run_folder: RunFolder, turns: Sequence[ChargedTurn]) -> list[str]:
    """Return where the engine's sums are not those of the charges."""
    expected: Counter[tuple[str, int, str]] = Counter()
    for charge in (charge for turn in turns for charge in turn.charges):
        for scope in charge.scopes:
            for name in SUMS:
                expected[scope, charge.day, name] += getattr(charge, name)
    found: Counter[tuple[str, int, str]] = Counter()
    for row in run_folder.rows("SELECT * FROM usage"):
        for name in SUMS:
            found[row["scope"], row["day"], name] += row[name]
    return [
        f"{key}: the sum is {found[key]}, the charges are {expected[key]}"
        for key in sorted({*expected, *found})
        if expected[key] != found[key]
    ]
