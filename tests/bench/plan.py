"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """rounds: slices that each contestant of a section gets, in turn; slice_s: seconds of one.

    quick: a look in a few minutes, with wider quartiles; full: also what takes long, such as a
    database of ten million rows.
    """

    rounds: int = 11
    slice_s: float = 0.5
    quick: bool = False
    full: bool = False


QUICK = Plan(rounds=3, slice_s=0.4, quick=True)
