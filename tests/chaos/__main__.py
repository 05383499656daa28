"""`make chaos`: engines that are killed, servers that go away, and a count of what got lost."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

import click

from tests.chaos.breakages import BREAKAGES
from tests.chaos.run import Outcome, Plan, run


@click.command()
@click.option("--kills", default=500, show_default=True, help="End after so many kills.")
@click.option(
    "--seconds", default=1200.0, show_default=True, help="End after so long at the latest."
)
@click.option("--seed", type=int, default=None, help="Repeat a run's dice; random by default.")
@click.option(
    "--break", "breakage", type=click.Choice(sorted(BREAKAGES)), help="Break the engine first."
)
@click.option("--keep", is_flag=True, help="Keep the run's folder.")
def main(kills: int, seconds: float, seed: int | None, breakage: str | None, keep: bool) -> None:
    """Kill engines under load. Exit codes: 0 nothing was wrong, 1 something was."""
    plan = Plan(
        seed=secrets.randbelow(10**9) if seed is None else seed,
        kills=kills,
        seconds=seconds,
        breakage=breakage,
    )
    click.echo(f"seed {plan.seed}: up to {kills} kills within {seconds:g} s")
    folder = Path(tempfile.mkdtemp(prefix="rosey-chaos-"))
    try:
        outcome = _run(plan, folder)
    finally:
        if not keep:
            shutil.rmtree(folder)
    for line in outcome.lines():
        click.echo(line)
    if keep:
        click.echo(f"kept in {folder}")
    sys.exit(not outcome.good)


def _run(plan: Plan, folder: Path) -> Outcome:
    return asyncio.run(run(plan, folder, click.echo))


if __name__ == "__main__":
    main()
