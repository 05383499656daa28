"""How much the benchmark measures: rounds, seconds, sizes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """A plan of a run.

    rounds: how many slices each contestant gets. slice_s: seconds of a slice.
    quick: a run of a few minutes, with wider quartiles. full: also a database of ten million rows.
    """

    rounds: int = 11
    slice_s: float = 0.5
    quick: bool = False
    full: bool = False


QUICK = Plan(rounds=3, slice_s=0.4, quick=True)
