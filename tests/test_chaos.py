"""A short run of `make chaos`: killed engines lose nothing, and broken engines are detected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.run import Plan, RunResult, run

pytestmark = [pytest.mark.real, pytest.mark.process]

SEED = int(os.environ.get("ROSEY_LLM_CHAOS_SEED", "20"))


def report(result: RunResult) -> str:
    return "\n".join(result.lines())


@pytest.mark.timeout(600)
async def test_engines_that_are_killed_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    result = await run(Plan(seed=SEED, kills=24, questions=100, seconds=400), tmp_path)
    assert result.good, report(result)
    assert result.evidence.damage.killed >= 24, report(result)
    assert len(result.evidence.prompts) >= 100, report(result)
    assert result.verdict.accepted >= 100, report(result)


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
    # Whether a kill hits the weak moment is chance, and less likely on a busy machine.
    for attempt in range(6):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        seed = SEED + attempt
        plan = Plan(seed=seed, kills=8, seconds=60, channels=5, patience_s=5, breakage=breakage)
        result = await run(plan, folder)
        found = {kind for kind, faults in result.verdict.faults.items() if faults}
        if kinds <= found:
            break
    assert kinds <= found, report(result)
    assert not result.good
