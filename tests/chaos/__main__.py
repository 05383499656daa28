"""The command of `make chaos`: kills engines under load and counts what was lost."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

import click

from tests.chaos.breakages import BREAKAGES
from tests.chaos.public_room import RoomResult, run_room
from tests.chaos.run import Plan, RunResult, run

UNLIMITED = 10**9


@click.command()
@click.option("--kills", default=500, show_default=True, help="Stop after this many kills.")
@click.option("--seconds", default=1200.0, show_default=True, help="Stop after this many seconds.")
@click.option("--minutes", type=float, help="Kill for so many minutes, however many kills it are.")
@click.option("--hours", type=float, help="The same in hours.")
@click.option(
    "--seed", type=int, default=None, help="Seed of the random choices; a new one by default."
)
@click.option(
    "--room",
    is_flag=True,
    help="A public room of 50 people with roles, limits and prices: money is counted twice.",
)
@click.option(
    "--break",
    "breakage",
    type=click.Choice(sorted(BREAKAGES)),
    help="Break the engine on purpose; the run must fail.",
)
@click.option("--keep", is_flag=True, help="Do not delete the run's folder.")
def main(
    kills: int,
    seconds: float,
    minutes: float | None,
    hours: float | None,
    seed: int | None,
    room: bool,
    breakage: str | None,
    keep: bool,
) -> None:
    """Kill engines under load. Exit codes: 0 no fault was found, 1 faults were found."""
    if minutes is not None or hours is not None:
        kills, seconds = UNLIMITED, 60 * (minutes or 0) + 3600 * (hours or 0)
    plan = Plan(
        seed=secrets.randbelow(10**9) if seed is None else seed,
        kills=kills,
        seconds=seconds,
        breakage=breakage,
    )
    limit = "kills" if kills == UNLIMITED else f"up to {kills} kills"
    click.echo(f"seed {plan.seed}: {limit} within {seconds:g} s")
    folder = Path(tempfile.mkdtemp(prefix="rosey-chaos-"))
    try:
        result = _run(plan, folder, room)
    finally:
        if not keep:
            shutil.rmtree(folder)
    for line in result.lines():
        click.echo(line)
    if keep:
        click.echo(f"kept in {folder}")
    sys.exit(not result.good)


def _run(plan: Plan, folder: Path, room: bool) -> RunResult | RoomResult:
    if room:
        return asyncio.run(run_room(plan, folder, click.echo))
    return asyncio.run(run(plan, folder, click.echo))


if __name__ == "__main__":
    main()
