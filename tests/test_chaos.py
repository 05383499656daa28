"""A short run of `make chaos`: killed engines lose nothing, and the harness sees what is broken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.run import Outcome, Plan, run

SEED = int(os.environ.get("ROSEY_LLM_CHAOS_SEED", "20"))


def told(outcome: Outcome) -> str:
    return "\n".join(outcome.lines())


@pytest.mark.timeout(600)
async def test_engines_that_are_killed_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    outcome = await run(Plan(seed=SEED, kills=24, seconds=300), tmp_path)
    assert outcome.good, told(outcome)
    assert outcome.evidence.damage.killed >= 20, told(outcome)
    assert outcome.verdict.accepted > 100, told(outcome)
    assert sum(map(len, outcome.evidence.prompts.values())) > 100, told(outcome)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("breakage", "kinds"),
    [
        ("publish_before_commit", {"too early"}),
        ("reset_lost_on_waking", {"prompts"}),
        ("newest_first", {"out of order"}),
    ],
)
async def test_an_engine_broken_on_purpose_is_found_out(
    tmp_path: Path, breakage: str, kinds: set[str]
) -> None:
    # Whether a kill meets the weak moment is chance, and less likely where the machine is busy.
    for attempt in range(6):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        seed = SEED + attempt
        plan = Plan(seed=seed, kills=8, seconds=60, channels=5, patience_s=5, breakage=breakage)
        outcome = await run(plan, folder)
        found = {kind for kind, faults in outcome.verdict.faults.items() if faults}
        if kinds <= found:
            break
    assert kinds <= found, told(outcome)
    assert not outcome.good
